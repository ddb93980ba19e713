"""Task records against messages and claims."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping

from pydantic import ValidationError

from mahavishnu_pools.broker.message import envelope
from mahavishnu_pools.checks.findings import Found, Mend, Site, fault
from mahavishnu_pools.checks.keyspace import Inventory
from mahavishnu_pools.checks.messages import MessageWalk, Places, left_behind
from mahavishnu_pools.schemas.task import TaskSpec
from mahavishnu_pools.store.checks import OddTask, look_at_tasks
from mahavishnu_pools.store.mending import mend_ended, mend_records, mend_task
from mahavishnu_pools.store.tasks import Envelope, read_specs

#: Records read or mended in one call.
CHUNK = 200


async def without_message(site: Site, inventory: Inventory, places: Places, *, first: MessageWalk) -> list[Found]:
    """Find tasks that wait and have no message anywhere, and tasks that run under a claim nobody holds.

    ``first`` is the walk that did not meet the missing ones. All are looked for twice, and a record that has changed in
    between does not count.
    """
    suspected = {one: inventory.waiting[one] for one in first.missing if one in inventory.waiting}
    waiting = await _still(site, suspected)
    second = MessageWalk(site.store, waiting)
    await second.walk(places)
    waiting = await _still(site, {one: waiting[one] for one in second.missing})
    unheld = await _still(site, inventory.unheld)
    return [
        *(_lost(task, "message_lost", "It waits, but its message is nowhere.") for task in waiting.values()),
        *(_lost(task, "claim_lost", "It is running by its record, but no lease holds it.") for task in unheld.values()),
    ]


async def without_leftover(site: Site, said: Mapping[str, str], places: Places, *, first: MessageWalk) -> list[Found]:
    """Find cancelled tasks whose message is counted as on its way out, and is nowhere; ``said`` names their pools."""
    second = MessageWalk(site.store, first.missing & said.keys())
    await second.walk(places)
    still = await left_behind(site.store, set(said.values()))
    stale: dict[str, list[str]] = {}
    for task_id in sorted(second.missing & still.keys()):
        stale.setdefault(still[task_id], []).append(task_id)
    text = "It counts {} messages of cancelled tasks that are not there; that many tasks that wait are not seen."
    return [fault("ended_stale", pool, text.format(len(ids)), mend=_forget(pool, ids)) for pool, ids in stale.items()]


def _forget(pool: str, task_ids: list[str]) -> Mend:
    async def mend(site: Site) -> bool:
        for start in range(0, len(task_ids), CHUNK):
            await site.store.run(mend_ended(pool, task_ids[start : start + CHUNK]))
        return True

    return mend


def without_lifetime(inventory: Inventory) -> list[Found]:
    """Make findings of records that have their outcome and would be kept for ever."""
    if not inventory.endless:
        return []
    text = f"{len(inventory.endless)} task records have their outcome and no lifetime."

    async def mend(site: Site) -> bool:
        for start in range(0, len(inventory.endless), CHUNK):
            some = inventory.endless[start : start + CHUNK]
            await site.store.run(mend_records(some, result_ttl=site.settings.result_expires))
        return True

    return [fault("record_endless", f"{len(inventory.endless)} records", text, mend=mend)]


async def _still(site: Site, tasks: Mapping[str, OddTask]) -> dict[str, OddTask]:
    """Return those of the tasks whose record is as it was."""
    found: dict[str, OddTask] = {}
    for some in _chunks(tasks):
        for now in await site.store.run(look_at_tasks(some)):
            if now == tasks[now.task_id]:
                found[now.task_id] = now
    return found


def _chunks(tasks: Iterable[str]) -> Iterable[list[str]]:
    ids = list(tasks)
    return (ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK))


def _lost(task: OddTask, kind: str, text: str) -> Found:
    return fault(kind, task.task_id, text, mend=_queue_again(task))


def _queue_again(task: OddTask) -> Mend:
    async def mend(site: Site) -> bool:
        spec = (await site.store.run(read_specs([task.task_id])))[0]
        call = mend_task(
            task,
            _message(task.task_id, spec, site),
            repair=secrets.token_hex(8),
            result_ttl=site.settings.result_expires,
        )
        return await site.store.run(call) != "changed"

    return mend


def _message(task_id: str, spec: str | None, site: Site) -> Envelope | None:
    """Return a new message made from the record; None for a user's Celery task: only its message had its arguments.

    With signatures there is none either: whoever can write records could have anything signed that way.
    """
    if not spec or site.settings.message_signing_key is not None:
        return None
    try:
        made = TaskSpec.model_validate_json(spec)
    except ValidationError:
        return None
    return envelope(made, task_id=task_id, max_bytes=max(len(spec.encode()) * 2, site.settings.max_payload_bytes))
