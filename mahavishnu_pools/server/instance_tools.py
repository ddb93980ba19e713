"""The tools for other instances that delegate tasks to this one; whoever follows a task may use them as well."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib.metadata import version

from pydantic import Field

from mahavishnu_pools.agent_lines import shown
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.mcp_tools import Answer, Tool
from mahavishnu_pools.schemas.base import Value
from mahavishnu_pools.schemas.pool import ACTIVE_STATUSES, PoolInfo
from mahavishnu_pools.server.pools import Pools
from mahavishnu_pools.server.results import Told
from mahavishnu_pools.server.task_tools import told
from mahavishnu_pools.server.waiting import Waiting
from mahavishnu_pools.store.logs import READ_MOST, START, LogPiece

#: Seconds between two looks at what a task has printed: at first, and when it has been silent for a while.
SOONEST, LATEST = 0.1, 1.0

#: Characters of output in one answer; the next call goes on behind them.
MOST = 256 * 1024

#: Characters of output that a text for people shows.
SHOWN = 2_000


class WhichPools(Value):
    """The pools that somebody means to use."""

    pool_id: str | None = Field(default=None, description="Id or name of the pool.")
    tags: list[str] = Field(default_factory=list, description="Only pools with all these tags.")


class Instance(Value):
    """An instance, and the pools of it that were asked for and take tasks."""

    instance_id: str = Field(description="Random; another one after its Redis was emptied.")
    version: str
    pools: int
    workers: int
    queued: int
    running: int
    load: float | None = Field(description="(running + queued) ÷ workers; null without workers.")


class FollowTask(Value):
    """A task, and what of its output is known."""

    task_id: str = Field(description="Id of the task.")
    after: str = Field(
        default=START, pattern=r"^\d{1,20}-\d{1,20}$", description="What the last answer had as after; none: all."
    )
    wait_seconds: float = Field(default=20, ge=0, le=50, description="Wait so long for something new.")


class Piece(Value):
    """A piece of output."""

    stream: str = Field(
        description="stdout, stderr, system (a remark); of AI programs agent (events), raw (own lines)."
    )
    text: str
    after_cut: bool = Field(default=False, description="Whether output was left out before it.")


class Followed(Value):
    """What is new of a task; ``task`` is there once it has ended and all it printed was told."""

    pieces: list[Piece]
    after: str = Field(description="For the next call.")
    task: Told | None = None


class InstanceTools:
    """The tools of federation."""

    def __init__(self, pools: Pools, waiting: Waiting) -> None:
        self._pools = pools
        self._waiting = waiting

    def tools(self) -> Sequence[Tool]:
        """Return the tools."""
        which = "Tell which instance this is, and the load of its pools."
        follow = "Wait for what a task prints next, or for its end."
        return (
            Tool("pool_instance", which, WhichPools, self.instance, Instance, reads=True),
            Tool("pool_follow", follow, FollowTask, self.follow, Followed, reads=True),
        )

    async def instance(self, given: WhichPools) -> Answer:
        """Tell which instance this is."""
        manager = await self._pools.manager()
        infos = await _chosen(manager, given)
        workers, waiting = sum(info.workers for info in infos), sum(info.queued for info in infos)
        running = sum(info.running for info in infos)
        value = Instance(
            instance_id=await manager.instance_id(),
            version=version("mahavishnu-pools"),
            pools=len(infos),
            workers=workers,
            queued=waiting,
            running=running,
            load=round((running + waiting) / workers, 3) if workers else None,
        )
        text = (
            f"Instance {value.instance_id}: {len(infos)} pools, {workers} workers, {running} running, {waiting} queued"
        )
        return Answer(text, value.model_dump(mode="json"))

    async def follow(self, given: FollowTask) -> Answer:
        """Wait for what is new of a task."""
        manager = await self._pools.manager()
        await manager.task(given.task_id)
        looking = lambda: _news(manager, given)  # noqa: E731 - typed by what it is given to
        pieces, over = await self._waiting.gathered(looking, given.wait_seconds) or ([], False)
        some = _within(pieces)
        result = await manager.task(given.task_id) if over and len(some) == len(pieces) else None
        value = Followed(
            pieces=[Piece(stream=one.stream, text=one.text, after_cut=one.after_cut) for one in some],
            after=some[-1].entry if some else given.after,
        )
        printed = "".join(shown(one.stream, one.text) for one in some)[-SHOWN:]
        if result is None or not result.done:
            return Answer(printed or f"Task {given.task_id} goes on.", value.model_dump(mode="json"))
        end = told(result)
        text = "\n".join(part for part in (printed, end.text) if part)
        return Answer(text, {**value.model_dump(mode="json"), "task": dict(end.value)})


async def _news(manager: PoolManager, given: FollowTask) -> tuple[list[LogPiece], bool]:
    """Return what is new of a task's output, waited for in vain when that is empty, and whether that is all."""
    ended = asyncio.ensure_future(manager.result(given.task_id, wait_timeout=given.wait_seconds))
    pause = SOONEST
    try:
        while True:
            # In this order: what a task prints is written before its outcome.
            over = ended.done()
            pieces = await manager.log_pieces(given.task_id, after=given.after)
            if pieces or over:
                return pieces, over and len(pieces) < READ_MOST
            await asyncio.wait({ended}, timeout=pause)
            pause = min(LATEST, pause * 1.5)
    finally:
        ended.cancel()
        # That it did not end in time is no news.
        await asyncio.gather(ended, return_exceptions=True)


async def _chosen(manager: PoolManager, given: WhichPools) -> list[PoolInfo]:
    one = given.pool_id
    infos = await manager.list_pools() if one is None else [await manager.pool_info(one)]
    return [info for info in infos if info.status in ACTIVE_STATUSES and set(given.tags) <= set(info.tags)]


def _within(pieces: Sequence[LogPiece]) -> list[LogPiece]:
    """Return as many pieces as one answer has room for, at least one."""
    found: list[LogPiece] = []
    size = 0
    for piece in pieces:
        size += len(piece.text)
        if found and size > MOST:
            break
        found.append(piece)
    return found
