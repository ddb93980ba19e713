"""A claim loop on a real server, with a stand-in for what runs the claims."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mahavishnu_pools.store.client import SyncStore
from tests.store.world import World
from tests.waiting import eventually
from workers.claim_loop import ClaimLoop
from workers.claiming import LoopConfig, LoopHooks
from workers.claims import ClaimTable, Running
from workers.read_ahead import ReadAhead


class FixedAhead(ReadAhead):
    """Reads so many tasks ahead until the first stall, however long ago one has ended; ``soon``: the next ends soon."""

    def __init__(self, tasks: int, *, soon: bool = False) -> None:
        super().__init__()
        self.tasks = tasks
        self._soon = soon

    @property
    def quick(self) -> bool:
        return self._soon

    def stalled(self) -> None:
        self.tasks = 0

    def size(self, workers: int) -> int:
        return self.tasks


class Looping:
    """A loop with its table; claims run until ``end`` is called for them."""

    def __init__(self, world: World, pool_id: str, *, slots: int, url: str | None = None) -> None:
        self.world, self.pool_id, self.slots = world, pool_id, slots
        self.started: list[Running] = []
        #: What ``start`` answers: whether a worker of ours has the claim.
        self.direct = True
        #: Called with each claim instead, if anything.
        self.deliver: Callable[[Running], bool] | None = None
        self.verdicts: list[str] = []
        self.lost = threading.Event()
        self.ticks = 0
        self.wanted: list[tuple[str, int]] = []
        self.lease = world.lease(pool_id)
        place = {"namespace": world.store.namespace, "timeout": 2.0}
        self.stores = [SyncStore(url or world.store.url, **place) for _ in range(2)]
        self.table = ClaimTable()
        config = LoopConfig(self.lease, pool_id, f"{pool_id}@n", 60.0)
        self.loop = ClaimLoop(*self.stores, config, self.table, self._hooks())

    def _hooks(self) -> LoopHooks:
        def tick() -> None:
            self.ticks += 1

        return LoopHooks(
            slots=lambda: self.slots,
            start=self._start,
            ended=lambda held, verdict: self.verdicts.append(verdict),
            pool=lambda status, workers: self.wanted.append((status, workers)),
            idle=lambda: None,
            lease_lost=self.lost.set,
            tick=tick,
            foreign=lambda: not self.direct and bool(self.started),
        )

    def _start(self, running: Running) -> bool:
        self.started.append(running)
        return self.deliver(running) if self.deliver else self.direct

    def read_ahead(self, tasks: int, *, soon: bool = False) -> None:
        self.loop._claiming.ahead = FixedAhead(tasks, soon=soon)

    def begin(self) -> list[Running]:
        """Begin as many of the claims that wait as there are workers, in their order, and return them."""
        room = self.slots - (len(self.table) - self.table.waiting)
        return [running for running in self.table.not_begun()[:room] if self.loop.begin(running)]

    def finish(self, running: Running) -> None:
        self.loop.begin(running)
        self.loop.end_here(running.held, self.world.finish_call(running.held))

    def wait(self, count: int) -> list[Running]:
        return eventually(lambda: list(self.started), until=lambda found: len(found) == count)

    def close(self) -> None:
        self.loop.stop_claiming()
        for running in self.table.all():
            self.finish(running)
        self.loop.stop(timeout=5)
        for store in self.stores:
            store.close()


Make = Callable[..., Looping]


@contextmanager
def making(world: World) -> Iterator[Make]:
    """Give what makes loops, each with a pool of its own; all are ended afterwards."""
    made: list[Looping] = []

    def make(slots: int = 2, **options: Any) -> Looping:
        made.append(Looping(world, world.pool(f"p{len(made)}", workers=slots), slots=slots, **options))
        return made[-1]

    try:
        yield make
    finally:
        for one in made:
            one.close()
