"""Workers of this process: one task at a time each, bounded together, ended whole."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

import workers
from mahavishnu_pools import errors
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.workers import WorkerManager as ReExported
from tests.waiting import eventually_async
from workers.terminal_manager import TerminalManager
from workers.worker_manager import WorkerManager


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TerminalManager:
    monkeypatch.chdir(tmp_path)
    return TerminalManager.create(Settings(data_dir=tmp_path / "data", kill_grace=0.5))


@pytest_asyncio.fixture
async def manager(terminal: TerminalManager) -> AsyncIterator[WorkerManager]:
    async with WorkerManager(terminal) as made:
        yield made


def gate(name: str) -> dict[str, str]:
    """Return a task that says it began and ends once the file `name` exists."""
    return {"prompt": f"touch {name}.began; while [ ! -e {name} ]; do sleep 0.02; done"}


async def began(directory: Path, name: str) -> None:
    async def look() -> bool:
        return (directory / f"{name}.began").exists()

    await eventually_async(look)


async def test_a_worker_runs_one_task_at_a_time_in_order(manager: WorkerManager, tmp_path: Path) -> None:
    (worker_id,) = await manager.spawn_workers("shell")

    first = asyncio.create_task(manager.execute_task(worker_id, gate("go")))
    await began(tmp_path, "go")
    second = asyncio.create_task(manager.execute_task(worker_id, {"prompt": "ls go"}))
    await asyncio.wait([second], timeout=0.1)
    worker = manager._workers[worker_id]
    seen = (second.done(), worker.task_count, str(await worker.status()))
    (tmp_path / "go").touch()
    results = await asyncio.gather(first, second)

    assert seen == (False, 2, "busy")
    assert [result.status for result in results] == ["completed", "completed"]
    assert (worker.task_count, str(await worker.status())) == (0, "idle")


async def test_no_more_than_max_concurrent_tasks_run_at_once(terminal: TerminalManager, tmp_path: Path) -> None:
    async with WorkerManager(terminal, max_concurrent=1) as manager:
        ids = await manager.spawn_workers("shell", 2)
        first = asyncio.create_task(manager.execute_task(ids[0], gate("one")))
        await began(tmp_path, "one")
        second = asyncio.create_task(manager.execute_task(ids[1], gate("two")))
        await asyncio.wait([second], timeout=0.1)
        waited = not (tmp_path / "two.began").exists()
        for name in ("one", "two"):
            (tmp_path / name).touch()
        results = await asyncio.gather(first, second)

    assert waited
    assert [result.status for result in results] == ["completed", "completed"]


async def test_a_batch_is_spread_over_workers_and_answered_in_input_order(manager: WorkerManager) -> None:
    ids = await manager.spawn_workers("shell", 3)

    results = await manager.execute_batch(ids[:2], [{"prompt": f"echo {number}"} for number in range(7)])

    assert [result.output for result in results] == [f"{number}\n" for number in range(7)]
    assert {result.worker_id for result in results} == set(ids[:2])


async def test_a_failed_task_is_a_result_and_no_error(manager: WorkerManager) -> None:
    (worker_id,) = await manager.spawn_workers("shell")

    result = await manager.execute_task(worker_id, {"prompt": "echo bad >&2; exit 3"})

    assert (result.status, result.exit_code, result.attempts) == ("failed", 3, 1)
    assert result.error == "The command ended with exit code 3: bad"


async def test_a_task_that_asks_for_retries_runs_again(manager: WorkerManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.local_worker.retry_delay", lambda retries: 0.0)
    (worker_id,) = await manager.spawn_workers("shell")

    result = await manager.execute_task(
        worker_id, {"prompt": "echo x >> tries; [ $(wc -l < tries) = 3 ]", "max_retries": 5}
    )

    assert (result.status, result.attempts) == ("completed", 3)


async def test_closing_a_worker_ends_its_task_and_cancels_those_that_wait(
    manager: WorkerManager, tmp_path: Path
) -> None:
    (worker_id,) = await manager.spawn_workers("shell")
    running = asyncio.create_task(manager.execute_task(worker_id, {"prompt": "echo $$ > pid; exec sleep 600"}))
    await eventually_async(_pid_in(tmp_path))
    waiting = asyncio.create_task(manager.execute_task(worker_id, {"prompt": "touch never"}))
    await asyncio.wait([waiting], timeout=0.05)
    pid = await _pid_in(tmp_path)()

    await manager.close_worker(worker_id)

    assert [(await one).status for one in (running, waiting)] == ["cancelled", "cancelled"]
    assert not psutil.pid_exists(pid)
    assert not (tmp_path / "never").exists()
    with pytest.raises(errors.NotFound, match=worker_id):
        await manager.close_worker(worker_id)


async def test_closing_all_in_the_middle_of_a_batch_answers_every_task(manager: WorkerManager, tmp_path: Path) -> None:
    ids = await manager.spawn_workers("shell", 2)
    tasks = [gate("a"), gate("b"), *({"prompt": "true"} for _ in range(4))]
    batch = asyncio.create_task(manager.execute_batch(ids, tasks))
    await began(tmp_path, "a")
    await began(tmp_path, "b")

    await manager.close_all()
    await manager.close_all()

    assert [result.status for result in await batch] == ["cancelled"] * 6


async def test_a_cancelled_caller_takes_its_task_with_it(manager: WorkerManager, tmp_path: Path) -> None:
    (worker_id,) = await manager.spawn_workers("shell")
    caller = asyncio.create_task(manager.execute_task(worker_id, {"prompt": "echo $$ > pid; exec sleep 600"}))
    await eventually_async(_pid_in(tmp_path))
    pid = await _pid_in(tmp_path)()

    caller.cancel()
    await asyncio.wait([caller])

    assert caller.cancelled()
    assert not psutil.pid_exists(pid)
    assert (await manager.execute_task(worker_id, {"prompt": "true"})).status == "completed"


@pytest.mark.parametrize(
    ("task", "error", "word"),
    [
        ({"promt": "x"}, errors.InvalidField, "prompt"),
        ({"task_type": "unheard_of", "payload": {}}, errors.UnknownChoice, "unheard_of"),
        ({"task_type": "shell", "payload": {}}, errors.InvalidField, "command"),
        ({"prompt": "x", "worker_type": "nothing"}, errors.UnknownChoice, "nothing"),
    ],
)
async def test_a_task_that_cannot_be_run_is_refused(
    manager: WorkerManager, tmp_path: Path, task: dict[str, Any], error: type[errors.MahavishnuError], word: str
) -> None:
    ids = await manager.spawn_workers("shell", 1)

    with pytest.raises(error, match=word):
        await manager.execute_task(ids[0], task)
    with pytest.raises(error, match=word):
        await manager.execute_batch(ids, [{"prompt": "touch ran"}, task])
    assert not (tmp_path / "ran").exists()


async def test_workers_that_cannot_be_are_refused(manager: WorkerManager, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(errors.UnknownChoice, match="terminal-qwen"):
        await manager.spawn_workers("terminal-quen", 1)
    with pytest.raises(errors.InvalidField, match="count"):
        await manager.spawn_workers("shell", 0)
    with pytest.raises(errors.InvalidField, match="1000"):
        await manager.spawn_workers("shell", 1001)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(errors.MissingProgram, match="npm install"):
        await manager.spawn_workers("terminal-qwen", 1)
    assert manager._workers == {}


async def test_no_worker_is_no_place_for_a_batch(manager: WorkerManager) -> None:
    with pytest.raises(errors.InvalidField, match="worker_ids"):
        await manager.execute_batch([], [{"prompt": "true"}])


def test_a_manager_that_cannot_be_is_refused(terminal: TerminalManager, tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidField, match="max_concurrent"):
        WorkerManager(terminal, max_concurrent=0)
    with pytest.raises(errors.InvalidField, match="terminal_mgr"):
        WorkerManager(terminal, terminal_mgr=TerminalManager.create())
    with pytest.raises(errors.InvalidConfig, match="workers_enabled"):
        WorkerManager(TerminalManager.create(Settings(data_dir=tmp_path, workers_enabled=False)))
    with pytest.raises(errors.InvalidField, match="config"):
        TerminalManager.create({"x": 1})  # type: ignore[arg-type]


def test_the_limit_of_the_settings_holds_when_no_other_is_given(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, max_concurrent_workers=4)

    assert WorkerManager(TerminalManager.create(settings)).max_concurrent == 4


def test_the_classes_are_found_at_their_documented_places() -> None:
    assert workers.WorkerManager is WorkerManager
    assert workers.TerminalManager is TerminalManager
    assert ReExported.__module__ == "mahavishnu_workers.worker_manager"
    assert sys.modules[ReExported.__module__].MAX_WORKERS == 1000
    with pytest.raises(AttributeError, match="Nobody"):
        workers.Nobody  # noqa: B018


def _pid_in(directory: Path) -> Any:
    async def look() -> int:
        path = directory / "pid"
        return int(path.read_text().strip() or 0) if path.exists() else 0

    return look


async def test_a_task_without_a_timeout_gets_the_one_of_the_older_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(worker_timeout_seconds=0.2, kill_grace=0.1)

    async with WorkerManager(TerminalManager.create(settings)) as manager:
        (worker,) = await manager.spawn_workers("shell")
        result = await manager.execute_task(worker, {"prompt": "sleep 60"})

    assert result.status == "timeout"
