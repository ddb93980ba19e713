"""What commands say of tasks that had been submitted before, and how a task is found again by who lost the terminal."""

from __future__ import annotations

import json

import pytest

from mahavishnu_pools.cli import receipts
from mahavishnu_pools.cli.formats.table import TableFormat
from mahavishnu_pools.store.tasks import Submitted
from tests.fakes.cli_shell import Shell

KEYED = ("--prompt", "hi", "--idempotency-key", "k")
SPLIT = ("-t", "x", "--payload", '{"items": [1, 2]}', "--idempotency-key", "k")


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    found = Shell(capsys)
    found.manager.new = False
    return found


@pytest.mark.parametrize("command", ["execute", "route"])
def test_a_task_that_was_there_is_no_new_success(shell: Shell, command: str) -> None:
    assert shell(command, *KEYED) == 0

    assert shell.err == "Task task_abc123 had been submitted before, with this idempotency key; it is not sent again.\n"
    assert "Submitted: before, with this idempotency key" in shell.out
    shell(command, *KEYED, "--format", "json")
    assert json.loads(shell.out)["new"] is False


def test_without_waiting_its_status_is_the_one_it_has_by_now(shell: Shell) -> None:
    shell("execute", *KEYED, "--no-wait")
    assert "This task had been submitted before, with this idempotency key: completed" in shell.out

    shell("execute", *KEYED, "--no-wait", "--format", "json")
    told = json.loads(shell.out)
    assert (told["new"], told["status"]) == (False, "completed")


def test_a_new_task_says_nothing_of_keys(shell: Shell) -> None:
    shell.manager.new = True

    shell("execute", *KEYED)
    assert "before" not in shell.out + shell.err
    shell("execute", *KEYED, "--format", "json")
    assert json.loads(shell.out)["new"] is True


def test_a_distribution_tells_how_many_parts_were_there(shell: Shell) -> None:
    said = "1 of 2 had been submitted before, with these idempotency keys; they are not sent again."

    shell("distribute", *SPLIT)
    assert said in shell.err
    assert "1 of 1 had" not in shell.out
    shell("distribute", *SPLIT, "--no-wait")
    assert said in shell.out
    for waiting in ((), ("--no-wait",)):
        shell("distribute", *SPLIT, *waiting, "--format", "json")
        assert json.loads(shell.out)["known"] == ["task_1"]


def test_a_batch_tells_how_many_of_its_tasks_were_there() -> None:
    sent = [Submitted("task_1", "pool_1", new=False), Submitted("task_2", "pool_1", new=True)]

    some, every = receipts.batch_accepted("b", sent), receipts.batch_accepted("b", sent[:1])

    assert some.data["known"] == ["task_1"]
    assert "1 of 2 had been submitted before" in TableFormat().render(some)
    assert "All 1 had been submitted before" in TableFormat().render(every)
    assert "before" not in TableFormat().render(receipts.batch_accepted("b", sent[1:]))


def test_the_id_of_a_task_is_told_before_anything_that_may_take_long(shell: Shell) -> None:
    shell.manager.new = True

    async def gone(_: str) -> None:
        assert "Task: task_abc123" in shell.capsys.readouterr().err
        raise SystemExit(7)

    shell.manager.pool_info = gone  # type: ignore[method-assign,assignment]
    with pytest.raises(SystemExit):
        shell("execute", "--prompt", "hi")


def test_options_about_what_becomes_of_a_task_reach_it(shell: Shell) -> None:
    fate = ("--max-retries", "4", "--expires", "60", "--on-worker-lost", "fail")

    assert shell("execute", "local", "--prompt", "hi", *fate) == 0
    assert shell("distribute", "-t", "x", "--payload", '{"items": [1]}', *fate) == 0

    spec = shell.manager.called("submit")["spec"]
    assert (spec.max_retries, spec.expires, spec.on_worker_lost) == (4, 60.0, "fail")
    assert shell.manager.called("start_distribution")["task"]["max_retries"] == 4


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (("--max-retries", "-1"), "--max-retries"),
        (("--max-retries", "101"), "--max-retries"),
        (("--expires", "0"), "--expires"),
        (("--expires", "nan"), "--expires"),
        (("--on-worker-lost", "retry"), "--on-worker-lost"),
        (("--on-parent-failure", "run"), "--on-parent-failure: goes with --after"),
    ],
)
@pytest.mark.parametrize("command", ["execute", "route", "distribute"])
def test_what_means_nothing_is_refused_before_anything_is_asked(
    shell: Shell, command: str, wrong: tuple[str, str], word: str
) -> None:
    work = ("-t", "x", "--payload", '{"items": [1]}')

    assert shell(command, *work, *wrong) == 2

    assert word in shell.err
    assert shell.manager.calls == []
