"""What ``drain``, ``close`` and ``close-all`` ask of the manager, and what they say of the pool's tasks."""

from __future__ import annotations

import json

import pytest

from tests.fakes.cli_manager import pool_info
from tests.fakes.cli_shell import Shell


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    found = Shell(capsys)
    found.manager.pools.append(pool_info("busy", queued=37, running=2))
    return found


def test_a_drain_with_a_deadline_says_what_happened(shell: Shell) -> None:
    assert shell("drain", "local", "--timeout", "5") == 0

    assert shell.manager.called("drain_pool") == {"pool": "local", "timeout": 5.0}
    assert "Pool local is drained" in shell.out
    assert "2 running tasks ended, 1 handed back" in shell.out
    assert "3 tasks waiting" in shell.out


def test_a_drain_without_a_deadline_does_not_claim_to_be_done(shell: Shell) -> None:
    shell("drain", "local")

    assert "is being drained" in shell.out
    assert "handed back" not in shell.out


def test_the_json_of_a_drain_is_the_pool_and_what_became_of_its_tasks(shell: Shell) -> None:
    shell("drain", "local", "--format", "json")

    found = json.loads(shell.out)
    assert (found["status"], found["ended"], found["handed_back"], found["queued"]) == ("draining", 2, 1, 3)


def test_a_pool_without_tasks_is_closed(shell: Shell) -> None:
    assert shell("close", "k8s", "--timeout", "5", "-f", "json") == 0

    assert json.loads(shell.out) == {"closed": ["pool_abc"], "cancelled": 0, "moved": 0, "moves": []}
    assert shell.manager.called("close_pool") == {"pool": "k8s", "timeout": 5.0, "tasks": "refuse", "to": None}


def test_a_pool_with_tasks_is_not_closed_and_the_choices_are_named(shell: Shell) -> None:
    assert shell("close", "busy") == 2

    assert "37 queued and 2 running" in shell.err
    assert all(choice in shell.err for choice in ("--move", "--to", "--drain", "--cancel"))


@pytest.mark.parametrize(
    ("options", "tasks", "to"),
    [
        (["--move"], "move", None),
        (["--to", "k8s"], "move", "k8s"),
        (["--move", "--to", "k8s"], "move", "k8s"),
        (["--drain"], "drain", None),
        (["--cancel"], "cancel", None),
    ],
)
def test_the_choice_reaches_the_manager(shell: Shell, options: list[str], tasks: str, to: str | None) -> None:
    assert shell("close", "busy", *options) == 0

    call = shell.manager.called("close_pool")
    assert (call["tasks"], call["to"]) == (tasks, to)


@pytest.mark.parametrize("options", [["--move", "--cancel"], ["--to", "local", "--drain"]])
def test_two_choices_are_refused(shell: Shell, options: list[str]) -> None:
    assert shell("close", "busy", *options) == 2

    assert "Give one of" in shell.err


def test_closing_says_what_was_cancelled_and_what_moved(shell: Shell) -> None:
    shell("close", "busy", "--cancel")
    assert "37 tasks of busy cancelled" in shell.out

    shell("close", "busy", "--move")
    assert [line for line in shell.out.splitlines() if "busy" in line and "local" in line and "7" in line]


def test_closing_all_says_what_was_cancelled(shell: Shell) -> None:
    assert shell("close-all", "--yes", "-f", "json") == 0

    assert json.loads(shell.out)["cancelled"] == 37
