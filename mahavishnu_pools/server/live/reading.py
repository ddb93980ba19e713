"""Reads what the page shows. What several pages need is read once for all of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.event import Event
from mahavishnu_pools.schemas.task_brief import TaskBrief
from mahavishnu_pools.server.live import tasks as task_views
from mahavishnu_pools.server.live.contests import part_of
from mahavishnu_pools.server.live.gates import Awaiting
from mahavishnu_pools.server.live.rates import Ends, Rates
from mahavishnu_pools.server.live.rows import group_rows, node_row, pool_row
from mahavishnu_pools.server.live.views import CoolDown, Overview, PoolRow, PoolView, TaskView
from mahavishnu_pools.server.pools import Pools
from mahavishnu_pools.store.checks import Place, read_place
from mahavishnu_pools.store.client import AsyncStore
from mahavishnu_pools.store.events import KINDS, order, read_older
from mahavishnu_pools.store.figures import SystemFigures, read_figures
from mahavishnu_pools.store.leases import list_leases
from mahavishnu_pools.store.logs import START, LogPiece, read_log
from mahavishnu_pools.store.pools import NodeInfo, PoolRecord, list_nodes, read_pools
from mahavishnu_pools.store.task_briefs import CHUNK, read_briefs, read_next
from mahavishnu_pools.store.tasks import read_recent, read_specs, read_tasks

#: Seconds for which what was seen of all pools counts as now.
FRESH = 0.9

#: Events shown of each kind, and tasks of a pool.
EVENTS, RUNNING, WAITING, ENDED = 30, 300, 50, 100

#: Pools whose ended tasks are remembered.
KEPT_POOLS = 20

#: Running tasks shown of all pools, and of one of them at most.
ALL_RUNNING, EACH_RUNNING = 30, 5


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at all pools and nodes."""

    at: float
    records: tuple[PoolRecord, ...]
    rows: tuple[PoolRow, ...]
    figures: SystemFigures
    nodes: tuple[NodeInfo, ...]


class Reader:
    """Reads for all open pages; ``actions`` is what views say of that."""

    def __init__(self, pools: Pools, *, actions: bool) -> None:
        self._pools = pools
        self._about = {"version": version("mahavishnu-pools"), "actions": actions}
        self._rates = Rates()
        self._seen: tuple[float, Seen] | None = None
        self._looking = asyncio.Lock()
        self._awaiting = Awaiting()
        self._ended: dict[str, dict[str, TaskBrief]] = {}

    async def overview(self) -> Overview:
        """Return what there is.

        Raises:
            StackNotRunning, RedisUnavailable: it cannot be read.
        """
        seen = await self._look()
        found = seen.figures
        awaiting_total, awaiting = await self._awaiting.look(await self._store())
        return Overview(
            at=seen.at,
            **self._about,
            dead_letters=found.dead_letters,
            cooling=tuple(
                CoolDown(worker_type=kind, ends=round(found.at + left)) for kind, left in sorted(found.cooling.items())
            ),
            pools=seen.rows,
            groups=tuple(row for record in seen.records for row in group_rows(record)),
            nodes=tuple(map(node_row, seen.nodes)),
            running=tuple(await self._running()),
            awaiting=awaiting,
            awaiting_total=awaiting_total,
            events=tuple(await _events(await self._store())),
        )

    async def pool(self, name: str) -> PoolView:
        """Return a pool (id or name) with its tasks.

        Raises:
            PoolNotFound, PoolGone: there is none.
        """
        seen = await self._look()
        place = next((n for n, one in enumerate(seen.records) if name in (one.pool_id, one.config.name)), None)
        if place is None:
            raise errors.PoolNotFound.of(name, [one.config.name for one in seen.records])
        record = seen.records[place]
        running, waiting, ended = await self._tasks_of(record)
        return PoolView(
            at=seen.at,
            **self._about,
            pool=seen.rows[place],
            groups=tuple(group_rows(record)),
            running=tuple(running),
            waiting=tuple(waiting),
            ended=tuple(ended),
        )

    async def task(self, task_id: str) -> TaskView:
        """Return a task.

        Raises:
            TaskNotFound: there is none.
        """
        store = await self._store()
        found = (await store.run(read_tasks([task_id])))[0]
        if found is None:
            raise errors.TaskNotFound.of(task_id)
        spec = (await store.run(read_specs([task_id])))[0]
        pools = (await store.run(read_pools(found.pool_id))).pools if found.pool_id else ()
        name = pools[0].config.name if pools else None
        contest = await part_of(store, found, spec)
        return task_views.view(found, spec, pool=name, contest=contest, about={"at": time.time(), **self._about})

    async def brief(self, task_id: str) -> TaskBrief:
        """Return the little of a task that tells whether anything else of it changed.

        Raises:
            TaskNotFound: there is none.
        """
        found = await (await self._store()).run(read_briefs([task_id]))
        if not found:
            raise errors.TaskNotFound.of(task_id)
        return found[0]

    async def log(self, task_id: str, *, after: str = START) -> list[LogPiece]:
        """Return the next pieces of a task's output."""
        return await (await self._store()).run(read_log(task_id, after=after))

    async def _store(self) -> AsyncStore:
        return await (await self._pools.manager()).memory_store()

    async def _look(self) -> Seen:
        async with self._looking:
            if self._seen is None or time.monotonic() - self._seen[0] > FRESH:
                self._seen = (time.monotonic(), await self._look_now())
            return self._seen[1]

    async def _look_now(self) -> Seen:
        store = await self._store()
        figures = await store.run(read_figures())
        records = (await store.run(read_pools())).pools
        nodes = await store.run(list_nodes())
        self._rates.note(figures.at, {record.pool_id: _ends(record) for record in records})
        waits = {one.pool_id: one.longest_wait for one in figures.pools}
        rows = [
            pool_row(record, now=figures.at, wait=waits.get(record.pool_id, 0.0), rate=self._rates.of(record.pool_id))
            for record in records
        ]
        return Seen(figures.at, records, tuple(rows), figures, tuple(nodes))

    async def _running(self) -> list[TaskBrief]:
        store = await self._store()
        found: list[str] = []
        for lease in await store.run(list_leases()):
            if lease.claims:
                found += (await _at(store, "claims", lease.lease))[:EACH_RUNNING]
            if len(found) >= ALL_RUNNING:
                break
        briefs = await store.run(read_briefs(found[:ALL_RUNNING])) if found else []
        return [brief for brief in briefs if not brief.periodic]

    async def _tasks_of(self, record: PoolRecord) -> tuple[list[TaskBrief], list[TaskBrief], list[TaskBrief]]:
        store = await self._store()
        running: list[str] = []
        for lease in await store.run(list_leases()):
            if lease.pool_id == record.pool_id and lease.claims:
                running += await _at(store, "claims", lease.lease)
        waiting = await _waiting(store, record) if record.queued else []
        ended = await store.run(read_recent(record.pool_id, limit=ENDED))
        groups = (running[:RUNNING], waiting[:WAITING], ended)
        known = await self._briefs(record.pool_id, [*running[:RUNNING], *waiting[:WAITING]], ended)
        shown = {task_id: brief for task_id, brief in known.items() if not brief.periodic}
        first, second, third = ([shown[one] for one in group if one in shown] for group in groups)
        return first, second, third

    async def _briefs(self, pool_id: str, moving: Sequence[str], ended: Sequence[str]) -> dict[str, TaskBrief]:
        """Return briefs by id; what ended is read once, because specifications may be long."""
        before = self._ended.get(pool_id, {})
        new = [one for one in ended if one not in before or one in moving]
        store = await self._store()
        briefs = await store.run(read_briefs([*moving, *new][:CHUNK])) if moving or new else []
        known = before | {brief.task_id: brief for brief in briefs}
        if len(self._ended) > KEPT_POOLS:
            self._ended.clear()
        self._ended[pool_id] = {one: known[one] for one in ended if one in known and known[one].finished_at}
        return known


async def _events(store: AsyncStore) -> list[Event]:
    found: list[Event] = []
    for kind in KINDS:
        some = await store.run(read_older(kind, most=EVENTS))
        found.extend(some)
    return sorted(found, key=order)


async def _waiting(store: AsyncStore, record: PoolRecord) -> list[str]:
    """Return tasks that wait, in the order in which they start, then those that wait apart or for their time."""
    found = await store.run(read_next(record.pool_id, most=WAITING))
    for place in _APART:
        if len(found) < WAITING:
            found += await _at(store, place, record.pool_id)
    return found


_APART: Sequence[Place] = ("suspects", "delayed")


async def _at(store: AsyncStore, place: Place, owner: str) -> list[str]:
    _, some = await store.run(read_place(place, owner, bucket=0, at="0"))
    return [one.task_id for one in some if one.recorded]


def _ends(record: PoolRecord) -> Ends:
    bad = sum(record.counts[name] for name in ("failed", "timeout", "dead"))
    return Ends(sum(record.counts.values()), bad)
