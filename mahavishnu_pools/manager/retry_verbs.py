"""What a manager does with tasks that failed: sending them again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mahavishnu_pools import errors, names
from mahavishnu_pools.manager.listing_verbs import ListingVerbs
from mahavishnu_pools.routing.graphs import levels
from mahavishnu_pools.routing.task_input import build
from mahavishnu_pools.schemas.pool import ENDED_STATUSES, PoolStatus
from mahavishnu_pools.schemas.task import TaskSpec, TaskStatus
from mahavishnu_pools.schemas.task_batch import Retried
from mahavishnu_pools.schemas.task_brief import TaskBrief
from mahavishnu_pools.store.dependencies import unknown_tasks
from mahavishnu_pools.store.pools import read_pools
from mahavishnu_pools.store.task_briefs import CHUNK
from mahavishnu_pools.store.tasks import read_specs

#: Outcomes that ``retry`` takes for failures.
FAILURES = frozenset({TaskStatus.FAILED, TaskStatus.TIMEOUT, TaskStatus.CANCELLED, TaskStatus.DEAD, TaskStatus.REFUSED})

#: Tasks whose specifications are read in one call: each may be a MiB.
SPEC_CHUNK = 20

_TAKES_NONE = ENDED_STATUSES | {PoolStatus.DRAINING}


class RetryVerbs(ListingVerbs):
    """The verb that sends tasks again."""

    async def retry(
        self, task_ids: Iterable[str] = (), *, batch: str | None = None, pool: str | None = None
    ) -> Retried:
        """Send tasks that failed again, as new tasks of one new batch: those named, and those of a batch that failed.

        Each goes to its own pool, or to one that is chosen when that takes no tasks; ``pool`` sends all there. What
        has not ended, has completed, was no task of this project (a user's Celery task) or comes after a task whose
        record has expired is skipped.

        Raises:
            BatchNotFound, TaskNotFound: there is none.
            NoPoolAvailable, PoolNotFound, PoolGone: no pool can take them.
            RedisUnavailable: the server was lost, or takes nothing. Some may have been sent: ``retried`` of the error
                has their old and new ids. What else it has of ``submit_many`` is about the pool it broke at.
        """
        named = list(dict.fromkeys(task_ids))
        members = [] if batch is None else (await self.batch(batch)).task_ids
        briefs = await self._briefs(list(dict.fromkeys([*named, *members])))
        missing = set(named) - {brief.task_id for brief in briefs}
        if missing:
            raise errors.TaskNotFound.of(min(missing))
        failed = [brief for brief in briefs if brief.status in FAILURES]
        skipped = {
            brief.task_id: f"it is {brief.status.value}"
            for brief in briefs
            if brief.status not in FAILURES and brief.task_id in named
        }
        specs = await self._specs([brief.task_id for brief in failed])
        skipped |= {one.task_id: "its specification is not known" for one in failed if one.task_id not in specs}
        skipped |= await self._forgotten(specs)
        again = [one for one in failed if one.task_id not in skipped]
        return await self._send_again(again, specs, pool, skipped)

    async def _send_again(
        self, failed: list[TaskBrief], specs: dict[str, TaskSpec], pool: str | None, skipped: dict[str, str]
    ) -> Retried:
        if not failed:
            return Retried(batch_id=None, retried={}, skipped=skipped)
        batch_id = names.new_batch_id()
        registry = (await (await self._connected()).store.run(read_pools())).pools
        taking = {one.pool_id for one in registry if one.status not in _TAKES_NONE}
        retried: dict[str, str] = {}
        pools = {brief.task_id: brief.pool_id for brief in failed}
        # Those first that others come after: these then come after the new ones.
        for layer in levels({one: [str(parent) for parent in specs[one].after] for one in pools}):
            for own in dict.fromkeys(pools[one] for one in layer):
                some = [one for one in layer if pools[one] == own]
                target = pool if pool is not None else own if own in taking else None
                tasks = [_after(specs[one], retried) for one in some]
                try:
                    sent = await self.submit_many(tasks, pool=target, batch_id=batch_id)
                except errors.MahavishnuError as exc:
                    queued: Mapping[int, str] = exc.details().get("queued", {})
                    retried |= {some[place]: task_id for place, task_id in queued.items()}
                    if not retried:
                        raise
                    raise _half_way(exc, batch_id, retried) from exc
                retried |= dict(zip(some, (one.task_id for one in sent), strict=True))
        ordered = {brief.task_id: retried[brief.task_id] for brief in failed}
        return Retried(batch_id=batch_id, retried=ordered, skipped=skipped)

    async def _forgotten(self, specs: Mapping[str, TaskSpec]) -> dict[str, str]:
        """Return why tasks cannot be sent again that come after others whose records have expired."""
        asked = {str(one): None for spec in specs.values() for one in spec.after if one not in specs}
        store, unknown, each = (await self._connected()).store, set[str](), list(asked)
        for start in range(0, len(each), CHUNK):
            some: list[str] = await store.run(unknown_tasks(each[start : start + CHUNK]))
            unknown.update(some)
        found: dict[str, str] = {}
        for task_id, spec in specs.items():
            gone = next((str(one) for one in spec.after if one in unknown), None)
            if gone is not None:
                found[task_id] = f"{gone}, which it comes after, has expired"
        return found

    async def _specs(self, task_ids: list[str]) -> dict[str, TaskSpec]:
        store = (await self._connected()).store
        found: dict[str, TaskSpec] = {}
        for start in range(0, len(task_ids), SPEC_CHUNK):
            some = task_ids[start : start + SPEC_CHUNK]
            texts = await store.run(read_specs(some))
            for task_id, text in zip(some, texts, strict=True):
                if text is not None:
                    # With its key the task would be taken for the one that failed.
                    spec = TaskSpec.model_validate_json(text, extra="ignore")
                    found[task_id] = build(TaskSpec, {**spec.model_dump(), "idempotency_key": None})
        for task_id, result in zip(found, await self._read_tasks(list(found)), strict=True):
            if result is not None and result.dependencies is not None:
                # Of tasks that were known by their keys the record has the right ids.
                parents = tuple(one.task_id for one in result.dependencies.parents)
                found[task_id] = found[task_id].model_copy(update={"after": parents})
        return found


def _half_way(exc: errors.MahavishnuError, batch_id: str, retried: Mapping[str, str]) -> errors.MahavishnuError:
    remedy = "Name the others alone when you repeat it."
    text = f"{exc.message} Already sent again: {len(retried)}, as batch {batch_id}. {remedy}"
    return exc.but(text, batch_id=batch_id, retried=dict(retried))


def _after(spec: TaskSpec, retried: Mapping[str, str]) -> TaskSpec:
    after = tuple(retried.get(str(one), one) for one in spec.after)
    return spec.model_copy(update={"after": after}) if spec.after else spec
