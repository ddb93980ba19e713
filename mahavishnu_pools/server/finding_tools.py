"""The tools that find tasks and memories, and that end tasks or send them again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from mahavishnu_pools import errors, names
from mahavishnu_pools.agent_lines import shown
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.mcp_tools import Answer, Caller, Tool
from mahavishnu_pools.memory.query import Filters
from mahavishnu_pools.moments import moment
from mahavishnu_pools.schemas.task_batch import Retried
from mahavishnu_pools.server import arguments, results, texts
from mahavishnu_pools.server.pools import Pools
from mahavishnu_pools.server.task_tools import batch_told, told
from mahavishnu_pools.server.waiting import Waiting

#: Characters of a memory that a text shows.
SHOWN = 300


class FindingTools:
    """The tools on the tasks and memories of one stack."""

    def __init__(self, pools: Pools, waiting: Waiting) -> None:
        self._pools = pools
        self._waiting = waiting

    def tools(self) -> Sequence[Tool]:
        """Return the tools."""
        a, r = arguments, results
        task = "Tell how a task or a batch is, with its outcome once it has one."
        cancel = "End a task, the tasks of a batch, or what waits in a pool or in all."
        search = "Search what finished tasks of all pools did and said."
        return (
            Tool("pool_task", task, a.OneTask, self.task, r.TaskOrBatch, attended=True, reads=True),
            Tool("pool_tasks", "List tasks, the newest first.", a.ListTasks, self.tasks, r.TaskList, reads=True),
            Tool("pool_log", "Return what a task has printed so far.", a.ReadLog, self.log, r.Log, reads=True),
            Tool("pool_cancel", cancel, a.CancelTasks, self.cancel, r.Cancelled),
            Tool("pool_retry", "Send tasks that failed again.", a.RetryTasks, self.retry, Retried),
            Tool("pool_search_memory", search, a.SearchMemory, self.search, r.Found, reads=True),
        )

    async def task(self, given: arguments.OneTask, caller: Caller) -> Answer:
        """Tell how a task or a batch is."""
        manager = await self._pools.manager()
        which = _only("task_id or batch_id", task_id=given.task_id, batch_id=given.batch_id)
        if which == "batch_id":
            answer = await self._batch(manager, str(given.batch_id), given.wait_seconds)
            return Answer(answer.text, {"task": None, "batch": dict(answer.value)})
        task_id = str(given.task_id)
        result = await manager.task(task_id)
        if not result.done and given.wait_seconds > 0:
            result = await self._waiting.outcome(manager, task_id, given.wait_seconds, caller)
        answer = told(result)
        return Answer(answer.text, {"task": dict(answer.value), "batch": None})

    async def _batch(self, manager: PoolManager, batch_id: str, seconds: float) -> Answer:
        batch = await manager.batch(batch_id)
        if not batch.done and seconds <= 0:
            return await batch_told(manager, batch_id, None)
        # What reduces the parts of a batch may come a moment after the last of them.
        within = max(seconds, 1.0)
        found = await self._waiting.gathered(lambda: manager.gather_batch(batch, wait_timeout=within), within)
        return await batch_told(manager, batch_id, found)

    async def tasks(self, given: arguments.ListTasks) -> Answer:
        """List tasks."""
        manager = await self._pools.manager()
        which = {"pool": given.pool_id, "batch": given.batch_id}
        since = _moment(given.since, "since")
        found = await manager.tasks(**which, status=given.status, since=since, limit=given.limit)
        value = results.TaskList(total=len(found), tasks=found)
        return Answer(texts.listed(f"{len(found)} tasks", map(texts.brief, found)), value.model_dump(mode="json"))

    async def log(self, given: arguments.ReadLog) -> Answer:
        """Return what a task printed."""
        manager = await self._pools.manager()
        text, cut = "", False
        async for piece in manager.task_log(given.task_id):
            cut = cut or piece.after_cut
            text += shown(piece.stream, piece.text)
            if len(text) > 2 * given.last:
                text, cut = text[-given.last :], True
        cut, text = cut or len(text) > given.last, text[-given.last :]
        value = results.Log(task_id=given.task_id, text=text, cut=cut)
        return Answer(text or "It has printed nothing.", value.model_dump(mode="json"))

    async def cancel(self, given: arguments.CancelTasks) -> Answer:
        """End tasks."""
        manager = await self._pools.manager()
        counts = {"cancelled": 0, "asked": 0, "finished": 0}
        which = _only("task_id, batch_id, pool_id or queued", **given.model_dump())
        if which == "task_id":
            said = await manager.cancel(str(given.task_id), reason="It was cancelled by an MCP client.")
            counts[said if said in counts else "finished"] = 1
        elif which == "batch_id":
            counts |= await manager.cancel_batch(str(given.batch_id))
        else:
            one = given.pool_id
            pools = [one] if one is not None else [pool.pool_id for pool in await manager.list_pools()]
            counts["cancelled"] = sum([await manager.cancel_queued(pool) for pool in pools])
        text = "{cancelled} will not run, {asked} are being stopped, {finished} had ended before".format(**counts)
        return Answer(text, dict(counts))

    async def retry(self, given: arguments.RetryTasks) -> Answer:
        """Send tasks again."""
        if not given.task_ids and given.batch_id is None:
            raise errors.InvalidField.of("task_ids", "is empty", "Name tasks, or a batch of which some failed.")
        manager = await self._pools.manager()
        found = await manager.retry(given.task_ids, batch=given.batch_id, pool=given.pool_id)
        skipped = (f"{task_id}: {reason}" for task_id, reason in found.skipped.items())
        head = f"Sent {len(found.retried)} tasks again as batch {found.batch_id}; skipped {len(found.skipped)}"
        return Answer(texts.listed(head, skipped), found.model_dump(mode="json"))

    async def search(self, given: arguments.SearchMemory) -> Answer:
        """Search memories."""
        manager = await self._pools.manager()
        pool_id = given.pool_id
        if pool_id is not None and not pool_id.startswith(names.POOL_ID_PREFIX):  # the id may be of one that is gone
            pool_id = (await manager.pool_info(pool_id)).pool_id
        chosen = given.model_dump(include={"pool_type", "task_id", "status"})
        times = {name: _moment(getattr(given, name), name) for name in ("since", "until")}
        filters = Filters(pool_id=pool_id, **chosen, **times)
        hits = await manager.search_memory(given.query, limit=given.limit, filters=filters)
        value = results.Found(total=len(hits), results=list(hits), notes=hits.notes)
        lines = (f"task {hit['task_id']}: {' '.join(str(hit['content']).split())[:SHOWN]}" for hit in hits)
        return Answer(texts.listed(f"🔍 {len(hits)} found", [*lines, *hits.notes]), value.model_dump(mode="json"))


def _moment(given: str | None, name: str) -> datetime | None:
    return None if given is None else moment(given, name=name)


def _only(choices: str, **given: str | bool | None) -> str:
    """Return the name of the one argument that was given."""
    found = [name for name, value in given.items() if value is not None]
    if len(found) != 1:
        raise errors.InvalidField.of(choices, f"{len(found)} were given", "Give exactly one.")
    return found[0]
