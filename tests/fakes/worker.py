"""A stand-in for a node with its agent and worker groups, in the test's event loop: it claims and finishes for real.

What a task does is decided by the function the test gives; without one a task echoes its prompt. A prompt ``hold`` runs
until it is cancelled or ``release`` is called.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Callable
from typing import Any, Self

from mahavishnu_pools import errors
from mahavishnu_pools.routing.chooser import Chooser
from mahavishnu_pools.routing.releasing import release_some
from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.schemas.task import Outcome, TaskSpec
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store import leases, pools
from mahavishnu_pools.store.client import AsyncStore
from mahavishnu_pools.store.steps import run_steps

logger = logging.getLogger(__name__)

RESULT_TTL = 3600.0

#: Seconds that a node and its leases last without a sign of life: no test takes so long.
TTL = 600.0

#: Seconds between two looks of the node at everything.
PAUSE = 0.01

Work = Callable[[TaskSpec], Outcome]


def echo(spec: TaskSpec) -> Outcome:
    if spec.task_type == "reduce":
        return Outcome(status="completed", value={"reduced": spec.payload["reducer"]})
    text = spec.text or json.dumps(spec.payload)
    if text == "fail":
        return Outcome(status="failed", error="it was told to", exit_code=1)
    return Outcome(status="completed", output=text)


class FakeNode:
    """One node: the ``programs`` it has, the ``task_types`` its groups register; ``mute`` leaves pools as they are."""

    def __init__(
        self,
        settings: Settings,
        *,
        name: str = "node1",
        work: Work = echo,
        programs: tuple[str, ...] = ("shell", "terminal-claude"),
        task_types: tuple[str, ...] = (),
        mute: bool = False,
        **about: Any,
    ) -> None:
        assert settings.redis_url is not None
        self.store = AsyncStore.from_settings(settings, settings.redis_url.get_secret_value())
        self.info = pools.NodeInfo(name=name, pid=1, started=1.0, programs=programs, **about)
        self._chooser = Chooser.from_settings(settings)
        self.ran: list[tuple[str, str]] = []
        self._work = work
        self._mute = mute
        self._task_types = json.dumps({one: {} for one in task_types})
        self._leases: dict[str, str] = {}
        self._held: dict[str, leases.Held] = {}
        self._groups: dict[str, pools.GroupInfo | None] = {}
        self._released = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.beat()
        self._task = asyncio.create_task(self._live())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.die()
        await self.store.close()

    async def die(self) -> None:
        """Stop to do anything, as a node that lost its power."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def release(self) -> None:
        """Let the tasks that hold end."""
        self._released.set()

    async def beat(self, *, ttl: float = TTL) -> None:
        await self.store.run(pools.node_beat(self.info, self._groups, ttl=ttl))

    async def _live(self) -> None:
        while True:
            try:
                await self._look()
            except errors.MahavishnuError:
                # As an agent: a pool was changed meanwhile, or Redis did not answer in time; the next look comes.
                logger.exception("A look of the node %s failed", self.info.name)
            await asyncio.sleep(PAUSE)

    async def _look(self) -> None:
        registry = await self.store.run(pools.read_pools())
        for pool in registry.pools:
            await self._tend(pool)
        while await run_steps(self.store, release_some(self._chooser, self.info.name, result_ttl=RESULT_TTL)):
            pass

    async def _tend(self, pool: pools.PoolRecord) -> None:
        if pool.status is PoolStatus.STOPPED:
            await self._end(pool)
        elif not self._mute:
            if pool.status is PoolStatus.INITIALIZING:
                await self._begin(pool)
            await self._report(pool)
            await self._run_tasks(pool)

    async def _begin(self, pool: pools.PoolRecord) -> None:
        if not await self.store.run(pools.assign_node(pool.pool_id, self.info.name, replicas=1, first=True)):
            return
        lease = secrets.token_hex(6)
        opened = leases.open_lease(lease, pool_id=pool.pool_id, node=self.info.name, pid=1, started=1.0, ttl=TTL)
        await self.store.run(opened)
        self._leases[pool.pool_id] = lease
        await self.store.run(pools.change_pool(pool.pool_id, task_types=self._task_types))
        await self._report(pool)
        await self.store.run(pools.change_pool(pool.pool_id, status=PoolStatus.RUNNING))

    async def _report(self, pool: pools.PoolRecord) -> None:
        if pool.pool_id in self._leases:
            group = pools.GroupInfo(
                node=self.info.name, status="ready", workers=pool.workers, worker_type=pool.config.worker_type
            )
            if self._groups.get(pool.pool_id) != group:
                self._groups[pool.pool_id] = group
                await self.beat()

    async def _run_tasks(self, pool: pools.PoolRecord) -> None:
        lease = self._leases.get(pool.pool_id)
        if lease is None:
            return
        by = leases.Claimant(lease, pool.pool_id, "w")
        busy = sum(held.pool_id == pool.pool_id for held in self._held.values())
        call = leases.claim(by, most=max(0, pool.workers - busy), request=secrets.token_hex(6), result_ttl=RESULT_TTL)
        found = await self.store.run(call)
        for claim in found.claims if found else ():
            await self._start(pool, lease, claim)
        if found and found.pool_status == "handback":
            await self._hand_back(pool)
        for task_id in list(self._held):
            if self._released.is_set() or (found and task_id in found.cancels):
                status = "cancelled" if found and task_id in found.cancels else "completed"
                await self._finish(self._held.pop(task_id), Outcome(status=status, error=None))  # type: ignore[arg-type]

    async def _hand_back(self, pool: pools.PoolRecord) -> None:
        for held in [one for one in self._held.values() if one.pool_id == pool.pool_id]:
            del self._held[held.task_id]
            await self.store.run(leases.hand_back(held))

    async def _start(self, pool: pools.PoolRecord, lease: str, claim: leases.Claim) -> None:
        import base64

        body = json.loads(base64.b64decode(json.loads(claim.message)["body"]))
        spec = TaskSpec.model_validate(body[0][0])
        held = leases.Held(lease, claim.number, claim.task_id, pool.pool_id)
        self.ran.append((pool.config.name, claim.task_id))
        if spec.text == "hold":
            self._held[claim.task_id] = held
        else:
            await self._finish(held, self._work(spec))

    async def _finish(self, held: leases.Held, outcome: Outcome) -> None:
        ours = {**outcome.model_dump(mode="json", exclude_none=True), "worker_id": f"w@{self.info.name}"}
        celery = "SUCCESS" if outcome.status == "completed" else "FAILURE"
        meta = {"status": celery, "result": ours, "task_id": held.task_id, "traceback": None}
        await self.store.run(
            leases.finish(
                held, status=outcome.status, outcome=json.dumps(ours), meta=json.dumps(meta), result_ttl=RESULT_TTL
            )
        )

    async def _end(self, pool: pools.PoolRecord) -> None:
        lease = self._leases.pop(pool.pool_id, None)
        self._groups[pool.pool_id] = None
        for task_id, held in list(self._held.items()):
            if held.pool_id == pool.pool_id:
                await self._finish(self._held.pop(task_id), Outcome(status="cancelled"))
        if lease is not None:
            await self.store.run(leases.reap(lease, cause="node", result_ttl=RESULT_TTL))
        await self.beat()
        del self._groups[pool.pool_id]
