"""Environment, secrets and directory of a task."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fakes.run_context import RecordingLog, make_context, run, shell_task
from workers.executors.environment import pass_list
from workers.executors.registry import execute
from workers.executors.workdir import IN_PODS


def _secrets(tmp_path: Path, text: str, *, mode: int = 0o600) -> dict[str, object]:
    file = tmp_path / "secrets.env"
    file.write_text(text)
    file.chmod(mode)
    return {"secrets_file": str(file)}


def test_only_listed_variables_pass() -> None:
    env = {
        "PATH": "p",
        "LC_ALL": "C",
        "AWS_SECRET": "x",
        "MAHAVISHNU_REDIS_URL": "redis://:pw@h",
        "OPENAI_BASE_URL": "u",
    }

    assert pass_list(env) == {"PATH": "p", "LC_ALL": "C"}
    assert pass_list(env, extra=("OPENAI_*", "MAHAVISHNU_*")) == {"PATH": "p", "LC_ALL": "C", "OPENAI_BASE_URL": "u"}


def test_a_task_never_sees_the_address_of_redis() -> None:
    env = {"PATH": os.environ["PATH"], "MAHAVISHNU_REDIS_URL": "redis://:password@host"}

    outcome = run(shell_task("env", env={"MAHAVISHNU_REDIS_URL": "redis://again", "OWN": "yes"}), env=env)

    assert "MAHAVISHNU_REDIS_URL" not in outcome.output
    assert "OWN=yes" in outcome.output


def test_a_secret_reaches_the_task_and_shows_nowhere(tmp_path: Path) -> None:
    services = _secrets(tmp_path, "# mine\nexport TOKEN='abc-123-xyz'\nOTHER=1\n")
    script = 'echo "$TOKEN" | wc -c; echo "out $TOKEN"; echo "err $TOKEN" >&2; exit 1'
    context = make_context(shell_task(script, secrets=["TOKEN"]), services=services)

    outcome = execute(context)

    assert isinstance(context.log, RecordingLog)
    assert outcome.output.split() == ["12", "out", "•••"]
    assert outcome.error == "The command ended with exit code 1: err •••"
    for text in (outcome.model_dump_json(), context.log.text("stdout"), context.log.text("stderr")):
        assert "abc-123-xyz" not in text


def test_a_key_from_the_environment_is_masked() -> None:
    outcome = run(shell_task("echo $MY_API_KEY", env={"MY_API_KEY": "sk-very-long-key"}))

    assert outcome.output == "•••\n"


def test_secrets_are_read_again_for_each_task(tmp_path: Path) -> None:
    spec = shell_task('printf %s "$TOKEN" | wc -c', secrets=["TOKEN"])
    run(spec, services=_secrets(tmp_path, "TOKEN=12345"))

    assert run(spec, services=_secrets(tmp_path, "TOKEN=1234567")).output.strip() == "7"


@pytest.mark.parametrize(
    ("text", "mode", "sentence"),
    [
        ("OTHER=1", 0o600, "TOKEN is not in"),
        ("TOKEN=1", 0o644, "chmod 600"),
    ],
)
def test_a_secret_that_cannot_be_had_fails_with_one_sentence(
    tmp_path: Path, text: str, mode: int, sentence: str
) -> None:
    outcome = run(shell_task("true", secrets=["TOKEN"]), services=_secrets(tmp_path, text, mode=mode))

    assert outcome.status == "failed"
    assert sentence in (outcome.error or "")


def test_without_a_secrets_file_a_secret_fails_with_one_sentence() -> None:
    assert "has no secrets.env" in (run(shell_task("true", secrets=["TOKEN"])).error or "")


def test_the_directory_of_the_task_wins_over_the_default(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()

    assert run(shell_task("pwd", cwd=str(tmp_path / "a")), default_cwd=tmp_path).output.strip() == str(tmp_path / "a")
    assert run(shell_task("pwd", cwd="a"), default_cwd=tmp_path).output.strip() == str(tmp_path / "a")
    assert run(shell_task("pwd"), default_cwd=tmp_path).output.strip() == str(tmp_path)


def test_in_a_pod_a_directory_of_the_senders_machine_is_not_looked_for(tmp_path: Path) -> None:
    allowed = tmp_path / "workspace"
    (allowed / "sub").mkdir(parents=True)
    pod = {"allowed_roots": (allowed,), "services": {IN_PODS: True}}

    sent = run(shell_task("pwd", cwd="/home/somebody/project"), **pod)
    meant = run(shell_task("pwd", cwd=str(allowed / "sub")), **pod)
    missing = run(shell_task("pwd", cwd=str(allowed / "other")), **pod)
    outside = run(shell_task("pwd", cwd=f"{allowed}/../"), **pod)

    assert sent.status == "completed"
    assert sent.output.strip() not in ("", "/home/somebody/project")
    assert meant.output.strip() == str((allowed / "sub").resolve())
    assert "does not exist" in (missing.error or "")
    assert "outside the allowed roots" in (outside.error or "")


@pytest.mark.parametrize("way", ["outside", "allowed/../outside", "allowed/link"])
def test_a_directory_outside_the_roots_is_refused_naming_them(tmp_path: Path, way: str) -> None:
    allowed, outside = tmp_path / "allowed", tmp_path / "outside"
    allowed.mkdir()
    outside.mkdir()
    (allowed / "link").symlink_to(outside)

    outcome = run(shell_task("touch ran", cwd=str(tmp_path / way)), allowed_roots=(allowed,))

    assert outcome.status == "failed"
    assert f"outside the allowed roots: {allowed}" in (outcome.error or "")
    assert not (outside / "ran").exists()


def test_a_directory_below_a_root_is_fine(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()

    assert run(shell_task("true", cwd=str(tmp_path / "below")), allowed_roots=(tmp_path,)).status == "completed"


@pytest.mark.parametrize("cwd", ["/no/such/directory", "/etc/passwd", "relative", "a\0b"])
def test_a_directory_that_cannot_be_used_is_one_sentence(cwd: str) -> None:
    outcome = run(shell_task("true", cwd=cwd))

    assert outcome.status == "failed"
    assert (outcome.error or "").startswith("cwd: ")
