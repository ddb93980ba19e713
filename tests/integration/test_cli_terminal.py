"""Commands in a real pseudo-terminal: the full screen, its keys, colours, Ctrl-C."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

import pytest

from tests.fixtures.command_line import Cli
from tests.fixtures.terminal import CTRL_C, Terminal
from tests.fixtures.warm import MAHAVISHNU
from tests.waiting import eventually

Start = Callable[..., Terminal]


@pytest.fixture
def start(cli: Cli) -> Start:
    def started(*arguments: str, **variables: str) -> Terminal:
        environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        # The stack has the pools of all tests before this one: the newest must be on the screen, too.
        return Terminal([*MAHAVISHNU, *arguments], env={**environment, **variables}, lines=200)

    return started


def test_watch_fills_the_screen_and_leaves_the_terminal_as_it_was(start: Start, pool: str) -> None:
    with start("pools", "watch", "--refresh", "0.3") as terminal:
        assert terminal.shows(pool), terminal.seen
        changed = terminal.attributes
        terminal.type(CTRL_C)
        assert terminal.ends()

        assert terminal.seen.startswith(b"\x1b[?1049h")  # the other screen, and back
        assert b"\x1b[?1049l" in terminal.seen
        assert b"Traceback" not in terminal.seen
        assert changed != terminal.before
        assert terminal.attributes == terminal.before
        assert terminal.process.returncode == 130


def test_keys_sort_scale_pause_resume_and_quit(start: Start, cli: Cli) -> None:
    cli("pools", "close-all", "--yes")  # the first row is to be this test's
    cli("pools", "spawn", "--name", "keyed", "--worker-type", "shell", "--max", "3")

    with start("pools", "watch", "--refresh", "0.3") as terminal:
        assert terminal.shows("keyed")
        terminal.type(b"s")
        assert terminal.shows("Sorted by name")
        terminal.type(b"+")
        assert terminal.shows("Pool keyed has 2 workers."), terminal.seen[-2000:]
        terminal.type(b"p")
        assert terminal.shows("Pool keyed is paused.")
        assert cli.json("pools", "get", "keyed")["status"] == "paused"
        terminal.type(b"p")
        assert terminal.shows("Pool keyed goes on.")
        terminal.type(b"-")
        assert terminal.shows("Pool keyed has 1 workers.")
        terminal.type(b"-")
        assert terminal.shows("0 workers are too few")  # what scale refuses is told in the foot
        terminal.type(b"q")
        assert terminal.ends()

        assert terminal.process.returncode == 0
        assert terminal.attributes == terminal.before
    assert cli.json("pools", "get", "keyed")["status"] == "running"


def test_watch_writes_lines_where_the_output_is_no_terminal(cli: Cli, pool: str) -> None:
    out = cli("pools", "watch", "--refresh", "0.1", "--count", "2")
    data = cli("pools", "monitor", "--count", "1", "--format", "json")

    assert sum(f" {pool} " in line for line in out.splitlines()) == 2
    assert "\x1b" not in out
    assert data.startswith('{"pools": [{"pool_id"')


@pytest.mark.parametrize(("extra", "status"), [((), "cancelled"), (("--no-cancel",), "running")])
def test_ctrl_c_cancels_the_task_that_is_waited_for_or_leaves_it(
    start: Start, cli: Cli, pool: str, extra: tuple[str, ...], status: str
) -> None:
    def tasks() -> list[str]:
        return [task["status"] for task in cli.json("pools", "tasks", "--pool", pool)["tasks"]]

    with start("pools", "execute", pool, "--prompt", "sleep 60", *extra) as terminal:
        eventually(lambda: tasks() == ["running"], within=60)
        terminal.type(CTRL_C)
        assert terminal.ends()

        assert terminal.process.returncode == 130
        assert b"Traceback" not in terminal.seen
    eventually(lambda: tasks() == [status], within=60)


def test_ctrl_c_cancels_all_prompts(start: Start, cli: Cli, pool: str) -> None:
    def statuses() -> set[str]:
        return {task["status"] for task in cli.json("pools", "tasks", "--pool", pool)["tasks"]}

    with start("pools", "execute", pool, "--prompt", "sleep 60", "--prompt", "sleep 61") as terminal:
        eventually(lambda: statuses() == {"running"}, within=60)
        terminal.type(CTRL_C)
        assert terminal.ends()

        assert terminal.process.returncode == 130
        assert terminal.shows("Cancelled batch")
    eventually(lambda: statuses() == {"cancelled"}, within=60)


def test_ctrl_c_leaves_a_task_that_was_sent_before_under_the_same_key(start: Start, cli: Cli, pool: str) -> None:
    same = ("pools", "execute", pool, "--prompt", "sleep 60", "--idempotency-key", f"key-{pool}")
    first = cli.json(*same, "--no-wait")["task_id"]
    with start(*same) as terminal:
        assert terminal.shows(f"Task {first} had been submitted before")
        terminal.type(CTRL_C)
        assert terminal.ends()

        assert terminal.shows(f"Task {first} goes on")
    assert cli.json("pools", "task", first)["status"] in ("queued", "running")
    cli("pools", "cancel", first)


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (("pools", "events", "--follow"), "pool_created"),
        (("pools", "logs", "TASK", "--follow"), "begun"),
        (("pools", "task", "TASK", "--follow"), "begun"),
        (("pools", "monitor"), "POOL"),
    ],
    ids=lambda found: found[1] if isinstance(found, tuple) else "",
)
def test_ctrl_c_ends_what_is_followed_and_leaves_the_task(
    start: Start, cli: Cli, pool: str, command: tuple[str, ...], shown: str
) -> None:
    task_id = cli.json("pools", "execute", pool, "--prompt", "echo begun; sleep 60", "--no-wait")["task_id"]
    with start(*(task_id if word == "TASK" else word for word in command)) as terminal:
        assert terminal.shows(shown.replace("POOL", pool)), terminal.seen
        terminal.type(CTRL_C)
        assert terminal.ends()

        assert terminal.process.returncode == 130
        assert terminal.shows("Interrupted.")
        assert b"Error" not in terminal.seen
        assert b"Traceback" not in terminal.seen
        assert terminal.attributes == terminal.before
    eventually(lambda: cli.json("pools", "task", task_id)["status"] == "running", within=60)
    cli("pools", "cancel", task_id)


def test_the_shell_survives_ctrl_c_and_awaits_what_is_typed(start: Start, pool: str) -> None:
    with start("shell") as terminal:
        assert terminal.shows(">>> ")
        # Python overlooks a signal that comes between the prompt and the wait for keys. As people do then,
        # the key is pressed again.
        for _ in range(10):
            terminal.type(CTRL_C)
            if terminal.shows("KeyboardInterrupt\r\n>>> ", within=3.0):
                break
        assert b"KeyboardInterrupt\r\n>>> " in terminal.seen, terminal.seen
        terminal.type(b"[one.name for one in await maha_app.pool_manager.list_pools()]\n")
        assert terminal.shows(f"'{pool}'"), terminal.seen
        assert terminal.shows(">>> ", after=terminal.seen.index(f"'{pool}'".encode()))
        terminal.type(b"\x04")
        assert terminal.ends()

        assert terminal.process.returncode == 0
        assert terminal.attributes == terminal.before


def test_an_answer_that_was_just_read_as_it_came_is_not_printed_twice(start: Start, pool: str) -> None:
    with start("run", "--pool", pool, "echo o''nce") as terminal:
        assert terminal.ends()

        assert terminal.seen.count(b"once") == 1, terminal.seen


def test_an_answer_that_is_in_the_one_file_of_both_streams_is_not_written_twice(cli: Cli, pool: str) -> None:
    command = [*MAHAVISHNU, "run", "--pool", pool, "echo once; sleep 0.1; echo beside >&2"]

    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=True)

    assert sorted(done.stdout.split()) == ["beside", "once"]


def test_a_terminal_gets_colours_unless_it_wants_none(start: Start, pool: str) -> None:
    with start("pools", "list") as coloured, start("pools", "list", NO_COLOR="1") as plain:
        assert coloured.ends()
        assert plain.ends()

        assert b"\x1b[32m" in coloured.seen
        assert b"\x1b[" not in plain.seen
        assert "●".encode() in plain.seen


def test_closing_all_pools_asks_somebody_at_a_terminal(start: Start, pool: str, cli: Cli) -> None:
    with start("pools", "close-all") as terminal:
        assert terminal.shows("also those others have made?")
        terminal.type(b"n\n")
        assert terminal.ends()

        assert terminal.process.returncode == 130
    assert cli.json("pools", "get", pool)["status"] == "running"
