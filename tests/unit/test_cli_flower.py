"""The command ``flower``: it becomes Celery's, with what it needs in the environment, and opens no door by itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pytest

from mahavishnu_pools.cli.main import main

URL = "redis://:hidden@127.0.0.1:1/0"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Sequence[str], dict[str, str]]]:
    """Return the programs that the command became."""
    found: list[Any] = []
    monkeypatch.setattr(os, "execve", lambda _path, argv, env: found.append((argv, env)))
    monkeypatch.setenv("MAHAVISHNU_REDIS_URL", URL)
    return found


Started = list[tuple[Sequence[str], dict[str, str]]]


def test_secrets_go_by_environment(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAHAVISHNU_FLOWER_AUTH", "me:pw")

    assert main(["flower", "--port", "7000"]) == 0

    ((argv, env),) = started
    assert argv[-2:] == ("--address=127.0.0.1", "--port=7000")
    assert (env["FLOWER_BASIC_AUTH"], env["MAHAVISHNU_REDIS_URL"]) == ("me:pw", URL)
    assert not {"hidden", "pw"} & set(" ".join(argv).replace(":", " ").split())


def test_the_port_is_that_of_the_settings_and_flowers_own_variables_stay(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAHAVISHNU_FLOWER_PORT", "7001")
    monkeypatch.setenv("FLOWER_MAX_TASKS", "5")

    main(["flower"])

    ((argv, env),) = started
    assert argv[-1] == "--port=7001"
    assert env["FLOWER_MAX_TASKS"] == "5"


def test_off_loopback_it_needs_a_login(
    started: Started, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["flower", "--host", "0.0.0.0"]) == 2
    assert "MAHAVISHNU_FLOWER_AUTH=user:password" in capsys.readouterr().err
    assert not started

    monkeypatch.setenv("MAHAVISHNU_FLOWER_AUTH", "me:pw")
    assert main(["flower", "--host", "0.0.0.0"]) == 0


def test_a_login_without_a_password_is_refused(
    started: Started, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAHAVISHNU_FLOWER_AUTH", "me")

    assert main(["flower"]) == 2
    assert "flower_auth: must be written user:password" in capsys.readouterr().err
    assert not started
