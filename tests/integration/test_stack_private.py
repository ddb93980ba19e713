"""Private stacks: beside another one, gone with their owner."""

from __future__ import annotations

import asyncio
import os
import random
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import redis

from mahavishnu_pools import errors
from mahavishnu_pools.embedded.data_dir import DataDir
from mahavishnu_pools.embedded.identity import is_alive
from mahavishnu_pools.embedded.private import DIRECTORY_PREFIX, PrivateStack, clear_abandoned
from mahavishnu_pools.embedded.state import StackState, read_state, write_state
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.settings import Settings
from tests.fixtures.local_stack import (
    BROKEN_AGENT,
    STAND_INS,
    healthy,
    kill,
    marked,
    parts_with,
    start,
)
from tests.waiting import eventually

# ── private stacks ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def temporary_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory that private stacks of this test are made in."""
    directory = tmp_path / "tmp"
    directory.mkdir()
    monkeypatch.setenv("TMPDIR", str(directory))
    monkeypatch.setattr("tempfile.tempdir", None)
    return directory


async def test_a_private_stack_lives_beside_another_and_is_gone_with_its_block(
    make_settings: Callable[..., Settings], temporary_directories: Path
) -> None:
    settings = make_settings()
    beside = start(settings)

    async with PrivateStack(settings, parts=STAND_INS) as private:
        directory = private.data_dir
        assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
        assert private.redis_url != beside.redis_url
        with redis.Redis.from_url(private.redis_url) as connection:
            assert connection.ping()

    assert not os.listdir(temporary_directories)
    assert not marked(settings.model_copy(update={"data_dir": directory}))
    assert healthy(settings)
    with pytest.raises(errors.StackNotRunning):
        _ = private.redis_url


async def test_a_private_stack_that_does_not_come_up_leaves_nothing(
    make_settings: Callable[..., Settings], temporary_directories: Path
) -> None:
    with pytest.raises(errors.StackPartFailed, match="bad day"):
        await PrivateStack(make_settings(), parts=parts_with(BROKEN_AGENT)).start()

    assert not os.listdir(temporary_directories)


def processes_below(directory: Path) -> list[str]:
    """Return the processes of all stacks in a directory."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("MAHAVISHNU_STACK", "").startswith(str(directory)):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


async def cancelled_after(seconds: float, work: asyncio.Task[object]) -> bool:
    """Cancel a task some seconds after its begin, once more a moment later; tell whether that was in time."""
    for pause in (seconds, 0.05):
        await asyncio.wait([work], timeout=pause)
        work.cancel()
    await asyncio.wait([work])
    return work.cancelled()


@pytest.mark.parametrize("moment", range(6))
async def test_a_cancelled_start_leaves_no_process_whenever_it_was_cancelled(
    make_settings: Callable[..., Settings], temporary_directories: Path, moment: int
) -> None:
    private = PrivateStack(make_settings(), parts=STAND_INS)
    seconds = random.Random(moment).uniform(0, 0.4)

    if not await cancelled_after(seconds, asyncio.create_task(private.start())):
        await private.stop()

    assert processes_below(temporary_directories) == []
    assert not os.listdir(temporary_directories)


@pytest.mark.parametrize("seconds", [0.01, 0.3])
async def test_a_manager_that_is_cancelled_while_it_connects_leaves_no_process(
    make_settings: Callable[..., Settings], temporary_directories: Path, seconds: float
) -> None:
    manager = PoolManager(settings=make_settings())

    assert await cancelled_after(seconds, asyncio.create_task(manager.connect()))

    assert processes_below(temporary_directories) == []
    assert not os.listdir(temporary_directories)


OWNER = """
import asyncio, sys
from mahavishnu_pools.embedded.private import PrivateStack
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.settings import Settings
from tests.fixtures.local_stack import kill, STAND_INS
async def own():
    async with PrivateStack(Settings(), parts=STAND_INS) as private:
        print(private.data_dir, flush=True)
        await asyncio.sleep(600)
asyncio.run(own())
"""


@contextmanager
def owner_of_a_stack() -> Iterator[tuple[subprocess.Popen[str], StackState]]:
    """Run a program that owns a private stack."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True, env=environment) as owner:
        assert owner.stdout is not None
        state = read_state(Path(owner.stdout.readline().strip()))
        assert state is not None
        try:
            yield owner, state
        finally:
            owner.kill()


def test_a_private_stack_ends_when_its_owner_is_killed(temporary_directories: Path) -> None:
    with owner_of_a_stack() as (owner, state):
        directory = state.data_dir
        assert directory.name.startswith(DIRECTORY_PREFIX)

        owner.kill()

    eventually(lambda: not directory.exists())
    eventually(lambda: not is_alive(state.supervisor))
    assert not any(is_alive(row.process) for row in state.parts)


def test_a_private_stack_that_lost_owner_and_supervisor_is_cleared_away_and_a_living_one_is_not(
    temporary_directories: Path,
) -> None:
    with owner_of_a_stack() as (_, living):
        with owner_of_a_stack() as (owner, state):
            kill(state.supervisor)
            owner.kill()

        assert clear_abandoned(temporary_directories) == 1

        assert not any(is_alive(row.process) for row in state.parts)
        assert os.listdir(temporary_directories) == [living.data_dir.name]
        assert all(is_alive(row.process) for row in living.parts)
    eventually(lambda: not living.data_dir.exists())


def test_abandoned_stacks_that_several_processes_clear_at_once_are_cleared_without_an_error(
    temporary_directories: Path,
) -> None:
    for number in range(12):
        data = DataDir(temporary_directories / f"{DIRECTORY_PREFIX}{number}")
        data.create()
        write_state(StackState(data.root, redis_url=None, external=False, supervisor=None, parts=()))

    with ThreadPoolExecutor(4) as threads:
        cleared = list(threads.map(clear_abandoned, [temporary_directories] * 4))

    assert sum(cleared) >= 12
    assert not os.listdir(temporary_directories)


def test_a_private_stack_that_vanishes_while_abandoned_ones_are_looked_for_is_no_error(
    temporary_directories: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = temporary_directories / f"{DIRECTORY_PREFIX}gone"
    monkeypatch.setattr(Path, "glob", lambda _directory, _pattern: [gone])

    assert clear_abandoned(temporary_directories) == 0
