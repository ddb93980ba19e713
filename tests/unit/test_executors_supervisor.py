"""The supervisor's own duties: exits, signals, input, starts that fail, other systems than Linux."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fakes.run_context import RecordingLog, install_program, left_running, make_context, run, shell_task
from tests.waiting import eventually
from workers.executors import processes
from workers.executors.interface import Cancellation, Refused
from workers.executors.registry import execute
from workers.executors.supervisor import Command, Ended, run_command

#: Starts a process in a session of its own, with its own output, and ends once that is so.
DAEMON = "setsid sh -c 'touch up; exec sleep 60' >/dev/null 2>&1 </dev/null & until [ -e up ]; do sleep 0.02; done"


@pytest.fixture
def without_linux(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take away what only Linux has, so that the way of other systems is gone."""
    for name in ("pidfd_open", "eventfd"):
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setattr(processes, "_LINUX", False)
    processes.process_table.cache_clear()
    yield
    processes.process_table.cache_clear()


def _command(*argv: str, **overrides: object) -> Command:
    fields: dict[str, object] = {
        "argv": argv,
        "cwd": Path("/"),
        "env": {"PATH": os.environ["PATH"], "MAHAVISHNU_TASK_ID": "task_supervisor"},
        "task_id": "task_supervisor",
        "timeout": 20.0,
        "kill_grace": 0.3,
    }
    return Command(**{**fields, **overrides})  # type: ignore[arg-type]


def _run(command: Command) -> tuple[Ended, bytes]:
    pieces: list[bytes] = []
    ended = run_command(command, consume=lambda _, data: pieces.append(data), cancellation=Cancellation())
    return ended, b"".join(pieces)


@pytest.mark.parametrize("code", [1, 3, 255])
def test_a_non_zero_exit_code_fails_the_task_and_is_reported(code: int) -> None:
    outcome = run(shell_task(f"echo why it failed >&2; exit {code}"))

    assert (outcome.status, outcome.exit_code, outcome.retryable) == ("failed", code, None)
    assert outcome.error == f"The command ended with exit code {code}: why it failed"
    assert outcome.metadata["stderr"] == "why it failed\n"


def test_an_end_by_signal_is_named() -> None:
    outcome = run(shell_task("kill -9 $$"))

    assert (outcome.status, outcome.exit_code) == ("failed", 137)
    assert outcome.error == "The command was ended by signal 9 (SIGKILL)."


def test_input_larger_than_any_pipe_reaches_the_command() -> None:
    ended, output = _run(_command("wc", "-c", stdin=b"x" * 3_000_000))

    assert ended == Ended("exited", returncode=0)
    assert int(output) == 3_000_000


def test_a_command_that_does_not_read_its_input_still_ends() -> None:
    ended, _ = _run(_command("true", stdin=b"x" * 3_000_000))

    assert ended.returncode == 0


def test_a_command_without_input_finds_it_empty() -> None:
    assert _run(_command("cat"))[0] == Ended("exited", returncode=0)


def test_a_missing_program_is_one_sentence() -> None:
    outcome = run({"task_type": "shell", "payload": {"command": ["no-such-program-here"]}})

    assert outcome.status == "failed"
    assert "'no-such-program-here' was not found" in (outcome.error or "")


def test_a_program_without_its_interpreter_is_one_sentence(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)

    assert "interpreter is missing" in (run({"task_type": "shell", "payload": {"command": [str(script)]}}).error or "")


def test_an_argument_that_is_too_long_is_one_sentence() -> None:
    outcome = run({"task_type": "shell", "payload": {"command": ["echo", "x" * 200_000]}})

    assert "too long for this system" in (outcome.error or "")


def test_a_nul_character_in_an_argument_is_one_sentence() -> None:
    with pytest.raises(Refused, match="cannot be started"):
        _run(_command("echo", "a\0b"))


def test_a_daemon_in_its_own_session_with_its_own_output_is_let_live() -> None:
    context = make_context(shell_task(DAEMON))

    assert execute(context).status == "completed"

    assert len(left_running(context)) == 1
    assert processes.end_marked([context.task_id]) == []
    assert left_running(context) == []


def test_a_program_gets_term_only_once(tmp_path: Path) -> None:
    count = tmp_path / "count"
    script = f"trap 'echo x >> {count}' TERM; echo begun; while :; do sleep 0.05; done"
    context = make_context(shell_task(script))

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(execute, context)
        assert isinstance(context.log, RecordingLog)
        eventually(context.log.text)
        context.cancellation.cancel()
        assert future.result(30).status == "cancelled"

    assert count.read_text() == "x\n"


def test_a_fault_in_the_log_sink_ends_the_tree_and_fails_the_task() -> None:
    class Broken:
        def write(self, stream: str, data: bytes) -> None:
            raise RuntimeError("the sink is gone")

    context = make_context(shell_task("echo hello; sleep 60"), log=Broken())

    outcome = execute(context)

    assert outcome.status == "failed"
    assert "the sink is gone" in (outcome.error or "")
    assert left_running(context) == []


def test_a_cancel_that_comes_after_the_end_does_nothing() -> None:
    context = make_context(shell_task("true"))
    assert execute(context).status == "completed"

    context.cancellation.cancel()

    assert context.cancellation.requested


@pytest.mark.usefixtures("without_linux")
@pytest.mark.parametrize("script", ["sleep 60", "setsid sleep 60 & sleep 60"])
def test_elsewhere_than_on_linux_a_timeout_ends_the_whole_tree_too(script: str) -> None:
    context = make_context(shell_task(f"echo begun; {script}", timeout=2))

    outcome = execute(context)

    assert (outcome.status, outcome.output) == ("timeout", "begun\n")
    assert left_running(context) == []


@pytest.mark.usefixtures("without_linux")
def test_elsewhere_than_on_linux_a_command_completes() -> None:
    assert run(shell_task("cat; echo hello")).output == "hello\n"


def test_processes_of_several_tasks_are_ended_together() -> None:
    contexts = [make_context(shell_task(DAEMON)) for _ in range(3)]
    for context in contexts:
        execute(context)

    assert processes.end_marked([context.task_id for context in contexts[:2]], grace=0.5) == []

    assert [len(left_running(context)) for context in contexts] == [0, 0, 1]
    assert processes.end_marked([contexts[2].task_id]) == []


def test_looks_at_the_process_table_are_shared_by_those_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    begun, go_on = threading.Event(), threading.Event()

    def look() -> Iterator[processes.Seen]:
        nonlocal looks
        looks += 1
        begun.set()
        go_on.wait(30)
        yield processes.Seen(1, started="1", task_id="t")

    monkeypatch.setattr(processes, "_marked_processes", look)
    table = processes.ProcessTable()
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(table.marked)
        assert begun.wait(30)
        waiting = [pool.submit(table.marked, ["t"]) for _ in range(6)]
        go_on.set()
        assert all(len(future.result(30)) == 1 for future in [first, *waiting])

    assert looks <= 3


def test_a_seen_process_is_not_confused_with_a_later_one() -> None:
    stranger = processes.Seen(os.getpid(), started="0")

    stranger.signal(signal.SIGKILL)

    assert not stranger.alive()


def test_a_program_on_the_tasks_own_path_is_found(tmp_path: Path) -> None:
    install_program(tmp_path, "own-tool", "echo own")

    outcome = run(
        {"task_type": "shell", "payload": {"command": "own-tool"}, "env": {"PATH": f"{tmp_path}:/bin:/usr/bin"}}
    )

    assert outcome.output == "own\n"


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
def test_no_descriptor_is_left_open() -> None:
    run(shell_task("true"))
    before = len(os.listdir("/proc/self/fd"))

    for _ in range(5):
        run(shell_task("echo x", timeout=5))
        run({"task_type": "shell", "payload": {"command": ["no-such-program-here"]}})

    assert len(os.listdir("/proc/self/fd")) == before
