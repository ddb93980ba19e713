"""What ``pools rebalance`` asks of the manager, and what it prints."""

from __future__ import annotations

import json

import pytest

from tests.fakes.cli_shell import Shell


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def test_the_options_reach_the_manager(shell: Shell) -> None:
    assert shell("rebalance", "-s", "round_robin", "--pool", "local", "-p", "k8s", "--dry-run") == 0

    asked = {"strategy": "round_robin", "pools": ("local", "k8s"), "dry_run": True}
    assert shell.manager.called("rebalance") == asked


def test_all_pools_and_the_least_loaded_are_the_default(shell: Shell) -> None:
    assert shell("rebalance") == 0

    assert shell.manager.called("rebalance") == {"strategy": "least_loaded", "pools": None, "dry_run": False}


def test_the_table_says_what_went_where_and_who_got_nothing(shell: Shell) -> None:
    shell("rebalance")

    assert "2 tasks moved" in shell.out
    assert [line for line in shell.out.splitlines() if "local" in line and "k8s" in line and "5" in line]
    assert "local-pool gets no tasks: it is paused" in shell.out


@pytest.mark.parametrize(("movable", "says"), [(1, "1 task would be moved"), (0, "Nothing to move")])
def test_a_dry_run_does_not_claim_to_have_moved(shell: Shell, movable: int, says: str) -> None:
    shell.manager.movable = movable

    shell("rebalance", "--dry-run", "--format", "markdown")

    assert says in shell.out


def test_json_has_every_move(shell: Shell) -> None:
    shell("rebalance", "--format", "json")

    found = json.loads(shell.out)
    assert (found["moved"], found["moves"][0]["tasks"], found["pools"][0]["queued_after"]) == (2, 2, 2)


def test_an_unknown_strategy_is_refused(shell: Shell) -> None:
    assert shell("rebalance", "--strategy", "fastest") == 2
