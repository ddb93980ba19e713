"""What every way of running a task must do: the same tests over command, prompt, Python and container executor."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mahavishnu_pools.schemas.task import Outcome
from mahavishnu_pools.worker_types import WorkerType
from tests.fakes.run_context import RecordingLog, left_running, make_context
from tests.fixtures.clusters import job_context
from tests.fixtures.containers import StandIn
from tests.waiting import eventually
from workers.executors.interface import Limits, RunContext
from workers.executors.job_bridge import JobBridge
from workers.executors.processes import _started as process_start
from workers.executors.registry import execute

#: Seconds after which these tasks must have ended: less than the 30 that they may take, and the 60 that they ask for.
LONG_BEFORE_ITS_END = 20

#: Seconds in which a task's first line is there, also where a container has to be started and the machine is busy.
TIME_TO_BEGIN = 2.0

#: Makes the context of a task that runs a shell script with one executor.
Runner = Callable[..., RunContext]


def _as_command(script: str, **overrides: Any) -> RunContext:
    timeout = overrides.pop("timeout", 30.0)
    spec = {"task_type": "shell", "payload": {"command": script, "shell": True}, "timeout": timeout}
    return make_context(spec, **overrides)


def _as_prompt(script: str, **overrides: Any) -> RunContext:
    return make_context({"prompt": script, "timeout": overrides.pop("timeout", 30.0)}, worker_type="shell", **overrides)


def _as_stdin_prompt(script: str, **overrides: Any) -> RunContext:
    types = {"reader": WorkerType(name="reader", argv=("sh", "-s"), prompt_via="stdin")}
    spec = {"prompt": script, "timeout": overrides.pop("timeout", 30.0)}
    return make_context(spec, worker_type="reader", services={"worker_types": types}, **overrides)


def _as_python(script: str, **overrides: Any) -> RunContext:
    payload = {"callable": "subprocess:call", "args": [["sh", "-c", script]]}
    spec = {"task_type": "python", "payload": payload, "timeout": overrides.pop("timeout", 30.0)}
    return make_context(spec, python_callables=("subprocess:call",), **overrides)


def _as_job(bridge: JobBridge) -> Runner:
    return lambda script, **overrides: job_context(bridge, script, **overrides)


def _in_container(engine: StandIn) -> Runner:
    def make(script: str, **overrides: Any) -> RunContext:
        spec = {"prompt": script, "timeout": overrides.pop("timeout", 30.0)}
        services = {"container_image": "example/shell:1"}
        return make_context(spec, worker_type="container", env=engine.env, services=services, **overrides)

    return make


@pytest.fixture(
    params=[_as_command, _as_prompt, _as_stdin_prompt, _as_python, "container", "job"],
    ids=["command", "prompt", "stdin", "python", "container", "job"],
)
def runner(request: pytest.FixtureRequest) -> Runner:
    if request.param == "container":
        return _in_container(request.getfixturevalue("engine"))
    if request.param == "job":
        return _as_job(request.getfixturevalue("jobs"))
    made: Runner = request.param
    return made


def test_output_is_kept_and_logged_while_the_task_completes(runner: Runner) -> None:
    context = runner("echo out; echo err >&2")

    outcome = execute(context)

    assert isinstance(context.log, RecordingLog)
    out, err = ("out\nerr\n", "") if one_stream(context) else ("out\n", "err\n")
    assert (outcome.status, outcome.output, outcome.error) == ("completed", out, None)
    assert (context.log.text("stdout"), context.log.text("stderr")) == (out, err)


def test_output_reaches_the_log_before_the_task_ends(runner: Runner, tmp_path: Path) -> None:
    go = tmp_path / "go"
    context = runner(f"echo early; until [ -e {go} ]; do sleep 0.02; done")

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(execute, context)
        assert isinstance(context.log, RecordingLog)
        eventually(context.log.text, until=lambda text: "early" in text)
        assert not future.done()
        go.touch()

        assert future.result(30).status == "completed"


def test_a_timeout_ends_the_task_and_keeps_what_it_said(runner: Runner) -> None:
    context = runner("echo begun; sleep 60", timeout=TIME_TO_BEGIN)

    outcome = execute(context)

    assert (outcome.status, outcome.exit_code) == ("timeout", None)
    assert outcome.output == "begun\n"
    assert f"timeout of {TIME_TO_BEGIN:g} s" in (outcome.error or "")
    assert left_running(context) == []


def test_a_cancel_ends_the_task_at_once(runner: Runner) -> None:
    context = runner("echo begun; sleep 60")

    outcome, seconds = _cancel_when_begun(context)

    assert outcome.status == "cancelled"
    assert seconds < LONG_BEFORE_ITS_END
    assert left_running(context) == []


def test_a_task_that_ignores_term_is_killed_after_the_grace_period(runner: Runner) -> None:
    context = runner("trap '' TERM; echo begun; while :; do sleep 0.1; done")

    outcome, seconds = _cancel_when_begun(context)

    assert outcome.status == "cancelled"
    assert seconds < LONG_BEFORE_ITS_END
    assert left_running(context) == []


def test_a_grandchild_in_a_session_of_its_own_does_not_outlive_the_cancel(runner: Runner) -> None:
    stubborn = f"""{sys.executable} -c 'import os,signal,time; os.setsid(); signal.signal(15, 1); time.sleep(60)'"""
    context = runner(f"({stubborn} & ) ; ({stubborn} >/dev/null 2>&1 &) ; echo begun; sleep 60")

    outcome, seconds = _cancel_when_begun(context, processes=4)

    assert outcome.status == "cancelled"
    assert seconds < LONG_BEFORE_ITS_END
    assert left_running(context) == []


def test_a_process_of_the_group_that_dropped_its_environment_does_not_outlive_the_cancel(
    runner: Runner, tmp_path: Path
) -> None:
    file = tmp_path / "pid"
    context = runner(f"env -i sleep 60 & echo $! > {file}; echo begun; sleep 60")

    outcome, _ = _cancel_when_begun(context)

    assert outcome.status == "cancelled"
    # A zombie nobody reaps does not run any more.
    eventually(lambda: process_start(int(file.read_text())) is None)


def test_a_grandchild_that_keeps_the_output_open_does_not_hold_up_the_task(runner: Runner) -> None:
    context = runner("setsid sleep 60 & echo done")

    began = time.monotonic()
    outcome = execute(context)

    assert (outcome.status, outcome.output) == ("completed", "done\n")
    assert time.monotonic() - began < LONG_BEFORE_ITS_END
    assert left_running(context) == []


def test_what_a_command_leaves_in_its_group_ends_with_it(runner: Runner) -> None:
    context = runner("sleep 60 >/dev/null 2>&1 & echo done")

    assert execute(context).status == "completed"
    # A Python function is over when it returns; what it started is in the group of its process all the same.
    assert left_running(context) == []


def test_endless_output_is_cut_in_the_middle_with_a_mark(runner: Runner) -> None:
    much = "yes a line of the usual length, more or less | head -c 3000000"
    context = runner(f"echo first; {much}; echo; echo last", limits=Limits(max_output_bytes=4096, kill_grace=0.5))

    outcome = execute(context)

    assert outcome.status == "completed"
    assert len(outcome.output.encode()) <= 4096
    assert outcome.output.startswith("first\n")
    assert outcome.output.endswith("last\n")
    assert "bytes cut] …" in outcome.output


def test_binary_and_unicode_output_becomes_text(runner: Runner) -> None:
    context = runner(r"printf 'caf\303\251 \377\000 end'")

    outcome = execute(context)

    assert outcome.status == "completed"
    assert outcome.output == "café \ufffd\0 end" + ("\n" if one_stream(context) else "")


def test_a_cancel_before_the_start_keeps_the_task_from_running(runner: Runner, tmp_path: Path) -> None:
    context = runner(f"touch {tmp_path}/ran")
    context.cancellation.cancel()

    assert execute(context).status == "cancelled"
    assert not (tmp_path / "ran").exists()


def test_every_process_of_a_task_carries_its_ids(runner: Runner) -> None:
    context = runner("echo $MAHAVISHNU_TASK_ID $MAHAVISHNU_POOL_ID $MAHAVISHNU_ATTEMPT", attempt=3)

    assert execute(context).output == f"{context.task_id} pool_test 3\n"


def test_a_task_without_a_directory_gets_a_fresh_one_that_goes_afterwards(runner: Runner) -> None:
    outcome = execute(runner("pwd; touch file; mkdir -p a/b; chmod 500 a/b a"))

    directory = Path(outcome.output.strip())
    assert directory.name.startswith("mahavishnu-")
    assert not directory.exists()


def test_sixty_four_tasks_run_at_once_in_one_process(runner: Runner, tmp_path: Path) -> None:
    begun, go = tmp_path / "begun", tmp_path / "go"
    begun.mkdir()
    script = f"touch {begun}/$MAHAVISHNU_TASK_ID; until [ -e {go} ]; do sleep 0.3; done"
    contexts = [runner(script, timeout=60.0) for _ in range(64)]
    before = _open_descriptors()

    with ThreadPoolExecutor(64) as pool:
        outcomes = pool.map(execute, contexts)
        try:
            eventually(lambda: len(list(begun.iterdir())) == 64, within=60)
        finally:
            go.touch()

    assert [outcome.status for outcome in outcomes] == ["completed"] * 64
    # Connections to a cluster are kept for a while, for the next task.
    assert one_stream(contexts[0]) or _open_descriptors() <= before + 2


def test_a_waiting_task_costs_no_cpu(runner: Runner) -> None:
    with ThreadPoolExecutor(1) as pool:
        context = runner("echo begun; sleep 1")
        future = pool.submit(execute, context)
        assert isinstance(context.log, RecordingLog)
        eventually(context.log.text)
        began = time.process_time()
        future.result(30)

        # The process as a whole was asleep, apart from this test and the end of the task.
        assert time.process_time() - began < 0.6


def one_stream(context: RunContext) -> bool:
    """Tell whether both streams come as one, whose last line gets an end: logs of a cluster are like that."""
    return "jobs" in context.services


def _cancel_when_begun(context: RunContext, *, processes: int = 1) -> tuple[Outcome, float]:
    assert isinstance(context.log, RecordingLog)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(execute, context)
        eventually(context.log.text, until=lambda text: "begun" in text)
        eventually(lambda: len(left_running(context)) >= processes)
        began = time.monotonic()
        threading.Thread(target=context.cancellation.cancel).start()
        return future.result(30), time.monotonic() - began


def _open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
