"""What the commands about pools ask of the manager, and what they print."""

from __future__ import annotations

import json
import typing

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.cli.main import run
from mahavishnu_pools.cli.session import Session
from tests.fakes.cli_shell import Shell


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def test_all_spawn_options_reach_the_configuration(shell: Shell) -> None:
    options = "-n new -t kubernetes -m 2 -w 4 -r eu --worker-type shell --tag gpu --tag big --node n1 --replicas 2"
    more = "--namespace ns --container-image img --endpoint http://e --import mod --celery-app a:b --failover --no-wait"

    assert shell("register", *options.split(), *more.split(), "--allowed-root", "/srv") == 0

    call = shell.manager.called("spawn_pool")
    config = call["config"]
    assert (config.name, config.pool_type, config.min_workers, config.max_workers) == ("new", "kubernetes", 2, 4)
    assert (config.region, config.worker_type, config.tags, config.nodes) == ("eu", "shell", ("gpu", "big"), ("n1",))
    assert (config.replicas, config.imports, config.celery_app) == (2, ("mod",), "a:b")
    assert (config.endpoint, config.allowed_roots) == ("http://e", ("/srv",))
    assert (config.kubernetes.namespace, config.kubernetes.container_image) == ("ns", "img")
    assert config.extra_config == {}
    assert config.failover
    assert call["wait"] is False


def test_options_of_pools_that_delegate_reach_what_their_type_uses(shell: Shell) -> None:
    options = "--name far -t mahavishnu-remote --endpoint https://h/mcp --token-secret T --ca-file /etc/ca.pem"

    assert shell("spawn", *options.split(), "--remote-tag", "gpu", "--remote-tag", "big") == 0
    given = shell.manager.called("spawn_pool")["config"].extra_config
    assert given == {"token_secret": "T", "ca_file": "/etc/ca.pem", "remote_tags": ["gpu", "big"]}

    assert shell("spawn", "--name", "new", "--remote-tag", "gpu") == 2
    assert "--remote-tag: is for pools that delegate" in shell.err


def test_spawn_takes_its_defaults_from_the_settings(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAHAVISHNU_POOL_DEFAULT_MAX_WORKERS", "3")

    shell("spawn", "--name", "new")
    config = shell.manager.called("spawn_pool")["config"]

    assert (config.pool_type, config.min_workers, config.max_workers) == ("mahavishnu", 1, 3)


@pytest.mark.parametrize("options", ["", "--max 10", "--no-auto-scale", "--type session-buddy --min 3 --max 3"])
def test_spawn_tells_of_a_limit_that_nobody_named(shell: Shell, options: str) -> None:
    hint = "  It grows to 10 workers when tasks wait; --max sets another limit, --no-auto-scale keeps 3.\n"

    assert shell("spawn", "--name", "new", "--min", "3", *options.split()) == 0

    assert (hint in shell.out) == (options == "")
    assert shell("spawn", "--name", "more", "--format", "json") == 0
    assert "grows" not in shell.out + shell.err


@pytest.mark.parametrize(
    ("options", "problem"),
    [("--type mahavisnu", "Unknown pool type 'mahavisnu'. Did you mean"), ("--min 0", "--min-workers: must be 1 or")],
)
def test_spawn_tells_of_a_slip_without_a_stack(capsys: pytest.CaptureFixture[str], options: str, problem: str) -> None:
    def nowhere() -> typing.NoReturn:
        raise errors.StackNotRunning

    assert run(["pools", "spawn", "--name", "new", *options.split()], session=Session(nowhere)) == 2

    assert capsys.readouterr().err.startswith(f"Error: {problem}")


def test_a_minimum_over_the_default_maximum_needs_a_maximum(shell: Shell) -> None:
    assert shell("spawn", "--name", "new", "--min", "20") == 2
    assert shell("spawn", "--name", "new", "--min", "20", "--max", "20") == 0

    config = shell.manager.called("spawn_pool")["config"]
    assert (config.min_workers, config.max_workers) == (20, 20)


@pytest.mark.parametrize(("verb", "status"), [("pause", "paused"), ("resume", "running"), ("drain", "draining")])
def test_a_change_prints_the_pool_as_it_is_now(shell: Shell, verb: str, status: str) -> None:
    assert shell(verb, "local", "-f", "json") == 0

    assert json.loads(shell.out)["status"] == status


def test_scale_hands_over_both_numbers(shell: Shell) -> None:
    assert shell("scale", "local", "--target", "20", "--max", "30") == 0

    assert shell.manager.called("scale_pool") == {"pool": "local", "target": 20, "max_workers": 30}


def test_close_all_closes_the_pools_of_everybody(shell: Shell) -> None:
    assert shell("close-all", "--yes", "-f", "json") == 0

    assert shell.manager.called("close_all") == {"scope": "all"}
    assert len(json.loads(shell.out)["closed"]) == 3


def test_cancel_says_what_came_of_it(shell: Shell) -> None:
    assert shell("cancel", "task_abc123", "-f", "json") == 0

    assert json.loads(shell.out) == {"task_id": "task_abc123", "status": "asked"}


def test_health_that_is_not_good_ends_with_1(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    async def sick(pool: str | None = None) -> dict[str, typing.Any]:
        return {"status": "degraded", "pools_active": 0, "pools": [], "agents": 0}

    monkeypatch.setattr(shell.manager, "health_check", sick)

    assert shell("health") == 1


def test_the_shell_offers_the_names_of_pools(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_MAHAVISHNU_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "mahavishnu pools get lo")
    monkeypatch.setenv("COMP_CWORD", "3")

    with pytest.raises(SystemExit):
        shell()

    assert "local-pool" in shell.capsys.readouterr().out
