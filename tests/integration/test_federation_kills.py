"""Two stacks, one delegating to the other, while parts of either are killed: nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from mahavishnu_pools.embedded import stack
from mahavishnu_pools.embedded.state import StackState, read_state
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.settings import Settings
from tests.fixtures.groups import lines
from tests.fixtures.local_stack import healthy, kill, marked, part, process
from tests.waiting import eventually, eventually_async

#: A connection that Redis breaks while it is made is one that its client does not close.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]

#: Tasks of one run, how many run there at once, and how many there may be on the way.
TASKS, WORKERS, ON_THE_WAY = 60, 6, 20

_LEAN = {"embedded_session_buddy": "off", "embedded_akosha": "off", "memory_aggregation_enabled": False}


class Stacks:
    """The near stack, which delegates, and the far one."""

    def __init__(self, near: Settings, far: Settings) -> None:
        self.near, self.far = near, far

    def up(self, settings: Settings) -> StackState:
        stack.start(settings, detach=True)
        return eventually(
            lambda: read_state(settings.data_dir),
            until=lambda state: state is not None and healthy(settings) and part(state, "server").url,
            within=60,
        )


@pytest.fixture
def stacks(make_settings: Callable[..., Settings]) -> Stacks:
    both = Stacks(make_settings("near", **_LEAN), make_settings("far", **_LEAN))
    both.up(both.far)
    both.up(both.near)
    return both


def server(stacks: Stacks) -> None:
    kill(process(read_state(stacks.far.data_dir), "server"))


def agent(stacks: Stacks) -> None:
    kill(process(read_state(stacks.far.data_dir), "agent"))


def redis(stacks: Stacks) -> None:
    kill(process(read_state(stacks.far.data_dir), "redis"))


def whole(settings: Settings) -> None:
    """Kill every process of a stack."""
    for pid in marked(settings):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: not marked(settings))


def far_stack(stacks: Stacks) -> None:
    whole(stacks.far)
    stacks.up(stacks.far)


def near_stack(stacks: Stacks) -> None:
    whole(stacks.near)
    stacks.up(stacks.near)


def near_agent(stacks: Stacks) -> None:
    kill(process(read_state(stacks.near.data_dir), "agent"))


def near_redis(stacks: Stacks) -> None:
    kill(process(read_state(stacks.near.data_dir), "redis"))


def bridge(stacks: Stacks) -> None:
    found = process(read_state(stacks.near.data_dir), "agent")
    groups = [one for one in psutil.Process(found.pid).children(recursive=True) if one.num_threads() > WORKERS]
    assert groups
    for one in groups:
        one.kill()


@pytest.mark.parametrize("fault", [server, agent, redis, far_stack, bridge, near_agent, near_redis, near_stack])
async def test_all_delegated_tasks_end_once_whatever_is_killed(
    stacks: Stacks, fault: Callable[[Stacks], None], tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    url = part(read_state(stacks.far.data_dir), "server").url
    async with PoolManager(settings=stacks.far) as far, PoolManager(settings=stacks.near) as near:
        limits = {"min_workers": WORKERS, "max_workers": WORKERS, "auto_scale": False}
        await far.spawn_pool("mahavishnu", name="work", worker_type="shell", **limits)
        limits = {"min_workers": ON_THE_WAY, "max_workers": ON_THE_WAY, "auto_scale": False}
        await near.spawn_pool("mahavishnu-remote", name="there", endpoint=url, **limits)
        tasks = [{"prompt": f"echo begun; sleep 0.5; echo {number} >> {marks}; echo ended"} for number in range(TASKS)]
        sent = [one.task_id for one in await near.submit_many(tasks, pool="there")]
        await eventually_async(lambda: asyncio.to_thread(lines, marks), until=lambda found: len(found) > TASKS // 6)

        await asyncio.to_thread(fault, stacks)

        found = [one async for one in near.results(sent, wait_timeout=120)]
        assert Counter(one.status.value for one in found) == {"completed": TASKS}
        done = Counter(lines(marks))
        assert sorted(done, key=int) == [str(number) for number in range(TASKS)]
        doubled = sum(done.values()) - TASKS
        assert doubled <= (WORKERS if fault in (agent, far_stack) else 0)
        logs = ["".join([piece.text async for piece in near.task_log(one) if piece.stream == "stdout"]) for one in sent]
        torn = [text for text in logs if text != "begun\nended\n"]
        assert len(torn) <= (WORKERS if fault in (agent, far_stack) else 0), torn
        await near.close_all()
        await far.close_all()
