"""Settings: where a value comes from, and what is said about one that cannot be used."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from mahavishnu_pools import errors
from mahavishnu_pools.settings import Settings, UnknownSettingWarning, load_settings, settings_file, user_data_dir

WriteFile = Callable[[str], Path]


@pytest.fixture
def write_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteFile:
    def write(content: str) -> Path:
        path = tmp_path / "mahavishnu.yaml"
        path.write_text(content)
        monkeypatch.setenv("MAHAVISHNU_SETTINGS_FILE", str(path))
        return path

    return write


def test_defaults_hold_when_nothing_is_configured() -> None:
    settings = load_settings()

    assert settings.redis_url is None
    assert settings.pools_enabled
    assert settings.pool_routing_strategy == "least_loaded"
    assert (settings.max_payload_bytes, settings.max_output_bytes, settings.max_log_bytes) == (2**20, 2**18, 10 * 2**20)
    assert (settings.result_expires, settings.node_lost_after, settings.drain_timeout) == (86400, 60, 30)


def test_the_file_wins_over_the_default(write_file: WriteFile) -> None:
    write_file("pool_default_max_workers: 7\nimports: [shop.tasks, shop.more]\n")

    settings = load_settings()

    assert settings.pool_default_max_workers == 7
    assert settings.imports == ("shop.tasks", "shop.more")


def test_the_environment_wins_over_the_file(write_file: WriteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file("namespace: from-file\nnode_region: eu\n")
    monkeypatch.setenv("MAHAVISHNU_NAMESPACE", "from-environment")

    settings = load_settings()

    assert (settings.namespace, settings.node_region) == ("from-environment", "eu")


def test_an_argument_wins_over_everything(write_file: WriteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file("namespace: from-file\n")
    monkeypatch.setenv("MAHAVISHNU_NAMESPACE", "from-environment")

    assert load_settings(namespace="given").namespace == "given"


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAHAVISHNU_REDIS_URL", "")

    assert load_settings().redis_url is None


def test_variables_of_other_programs_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAMESPACE", "somebody-elses")
    monkeypatch.setenv("MAHAVISHNU_NOT_A_SETTING", "1")

    assert load_settings().namespace == ""


def test_an_empty_file_changes_nothing(write_file: WriteFile) -> None:
    write_file("# nothing here yet\n")

    assert load_settings() == Settings()


def test_the_file_is_looked_for_below_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAHAVISHNU_SETTINGS_FILE")
    monkeypatch.chdir(tmp_path)
    tmp_path.joinpath("settings").mkdir()
    tmp_path.joinpath("settings/mahavishnu.yaml").write_text("namespace: here\n")

    assert settings_file() == Path("settings/mahavishnu.yaml")
    assert load_settings().namespace == "here"


def test_an_unknown_key_is_warned_about_with_the_nearest_name(write_file: WriteFile) -> None:
    write_file("pool_routing_stratgy: random\n")

    with pytest.warns(UnknownSettingWarning, match=r"'pool_routing_stratgy'.*Did you mean 'pool_routing_strategy'\?"):
        settings = load_settings()

    assert settings.pool_routing_strategy == "least_loaded"


def test_an_unknown_key_like_no_other_gets_no_suggestion(write_file: WriteFile) -> None:
    write_file("zzz: 1\n")

    with pytest.warns(UnknownSettingWarning) as caught:
        load_settings()

    assert "Did you mean" not in str(caught[0].message)


def test_every_number_has_a_lower_and_an_upper_limit() -> None:
    numbers = {name: field for name, field in Settings.model_fields.items() if field.annotation in (int, float)}

    for name, field in numbers.items():
        limits = {kind for one in field.metadata for kind in ("gt", "ge", "lt", "le") if hasattr(one, kind)}
        assert limits & {"gt", "ge"}, name
        assert limits & {"lt", "le"}, name
    assert len(numbers) > 15


def test_a_settings_file_that_is_not_there_is_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAHAVISHNU_SETTINGS_FILE", "/no/such/file.yaml")

    with pytest.warns(UnknownSettingWarning, match=r"names /no/such/file\.yaml, which is no file"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "meant"), [("REDISURL", "REDIS_URL"), ("POOL_ENABLED", "POOLS_ENABLED"), ("SETTING_FILE", "SETTINGS_FILE")]
)
def test_a_misspelt_variable_is_warned_about_with_the_nearest_name(
    name: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"MAHAVISHNU_{name}", "1")

    with pytest.warns(UnknownSettingWarning, match=f"MAHAVISHNU_{name} .*Did you mean MAHAVISHNU_{meant}"):
        load_settings()


@pytest.mark.parametrize("name", ["TASK_ID", "POOL_ID", "LEASE", "AGENT_ID", "SECRETS_FILE", "STACK"])
def test_the_variables_of_a_task_are_not_taken_for_misspelt_ones(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"MAHAVISHNU_{name}", "1")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_settings()


def test_a_warning_is_told_once_at_the_command_line(tmp_path: Path) -> None:
    environment = {**os.environ, "MAHAVISHNU_SETTINGS_FILE": "/no/such/file.yaml", "MAHAVISHNU_DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "mahavishnu_pools.cli.main", "pools", "execute", "--prompt", "hello"]

    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=30)

    assert done.returncode == 4
    assert done.stderr.count("Warning: MAHAVISHNU_SETTINGS_FILE names") == 1


def test_known_keys_are_not_warned_about(write_file: WriteFile) -> None:
    write_file("\n".join(f"{name}: null" for name in ("redis_url", "node_name", "celery_app")))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("redis_url", "http://localhost"),
        ("namespace", "with space"),
        ("namespace", "x" * 41),
        ("redis_port", "70000"),
        ("redis_port", "-1"),
        ("pool_routing_strategy", "fastest"),
        ("pool_default_min_workers", "0"),
        ("spawn_timeout", "0"),
        ("kill_grace", "-1"),
        ("kill_grace", "1e9"),
        ("spawn_timeout", "nan"),
        ("spawn_timeout", "inf"),
        ("result_expires", "1e300"),
        ("lease_ttl", "1e12"),
        ("max_output_bytes", "99999999999"),
        ("max_concurrent_workers", "99999999999"),
        ("lease_ttl", "soon"),
        ("durability", "perhaps"),
        ("max_payload_bytes", "10"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_its_variable(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"MAHAVISHNU_{name.upper()}", value)

    with pytest.raises(errors.InvalidConfig) as caught:
        load_settings()

    assert str(caught.value).startswith(f"{name}: ")
    assert f"MAHAVISHNU_{name.upper()}" in str(caught.value)
    assert caught.value.setting == name


def test_a_refused_redis_url_is_not_repeated_because_it_may_hold_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAHAVISHNU_REDIS_URL", "http://:s3cret@localhost")

    with pytest.raises(errors.InvalidConfig) as caught:
        load_settings()

    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("url", ["redis://h:1/0", "rediss://h", "unix:///tmp/s.sock"])
def test_takes_every_kind_of_redis_url(url: str) -> None:
    settings = load_settings(redis_url=url)

    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == url


def test_the_password_in_the_redis_url_never_shows() -> None:
    settings = load_settings(redis_url="redis://:s3cret@localhost:6379/0")

    assert "s3cret" not in repr(settings)
    assert "s3cret" not in settings.model_dump_json()


@pytest.mark.parametrize("content", ["a: [1, 2\n", "\tx: 1\n"])
def test_a_file_that_is_no_yaml_is_named(content: str, write_file: WriteFile) -> None:
    path = write_file(content)

    with pytest.raises(errors.InvalidConfig, match="is no valid YAML") as caught:
        load_settings()

    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", ["- a\n- b\n", "just text\n", "42\n"])
def test_a_file_that_holds_no_settings_is_named(content: str, write_file: WriteFile) -> None:
    path = write_file(content)

    with pytest.raises(errors.InvalidConfig, match="must hold settings as 'name: value' lines") as caught:
        load_settings()

    assert str(path) in str(caught.value)


def test_a_bad_value_in_the_file_names_the_file(write_file: WriteFile) -> None:
    path = write_file("redis_port: many\n")

    with pytest.raises(errors.InvalidConfig) as caught:
        load_settings()

    assert str(caught.value).startswith("redis_port: ")
    assert str(path) in str(caught.value)


def test_settings_cannot_be_changed_afterwards() -> None:
    settings = load_settings()

    with pytest.raises(ValidationError):
        settings.namespace = "other"  # type: ignore[misc]


def test_the_data_directory_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")
    assert user_data_dir() == Path("/somewhere/mahavishnu")

    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert user_data_dir() == Path("/home/somebody/.local/share/mahavishnu")

    monkeypatch.setattr("sys.platform", "darwin")
    assert user_data_dir() == Path("/home/somebody/Library/Application Support/mahavishnu")


def test_older_names_keep_their_meaning(write_file: WriteFile) -> None:
    write_file("worker_default_type: terminal-qwen\nworker_timeout_seconds: 20\n")

    settings = load_settings()

    assert (settings.default_worker_type, settings.worker_timeout_seconds) == ("terminal-qwen", 20.0)
    assert load_settings(default_worker_type="shell").default_worker_type == "shell"
