"""The tools that keep a system in order: dead letters, memory servers, events, limits, usage, machines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from mahavishnu_pools import errors
from mahavishnu_pools.mcp_tools import Answer, Tool
from mahavishnu_pools.moments import moment
from mahavishnu_pools.schemas.dead import DeadLetter, DeadLetterDetails
from mahavishnu_pools.schemas.event import Event
from mahavishnu_pools.schemas.limits import CoolDown
from mahavishnu_pools.server import arguments, keeping_arguments, keeping_results, texts
from mahavishnu_pools.server.pools import Pools


def _where(one: CoolDown) -> str:
    return one.worker_type if one.node is None else f"{one.worker_type} on {one.node}"


class KeepingTools:
    """The tools on what the system did, and on what holds it back."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools

    def tools(self) -> Sequence[Tool]:
        """Return the tools."""
        a, r, none = keeping_arguments, keeping_results, arguments.NoArguments
        listing = "List tasks that were given up, the newest first."
        showing = "Tell why a task was given up, what it was, and what it printed last."
        replay = "Run tasks that were given up again, under their ids."
        sync = "Deliver the outcomes of tasks to Session-Buddy and Akosha now."
        aside = "List, send again or forget records that a memory server refused."
        events = "Tell what happened to pools, machines and tasks, the oldest first."
        limits = "Tell what holds tasks back: worker types that rest, rate limits, budgets."
        ending = "Let prompts start with a worker type that rests, before its time."
        usage = "Tell the tokens and the cost that AI programs reported."
        return (
            Tool("pool_dead_list", listing, a.ListDead, self.dead, r.DeadList, reads=True),
            Tool("pool_dead_show", showing, a.OneDead, self.show_dead, DeadLetterDetails, reads=True),
            Tool("pool_dead_replay", replay, a.ReplayDead, self.replay, r.Replayed),
            Tool("pool_dead_purge", "Forget tasks that were given up.", a.PurgeDead, self.purge, r.Purged),
            Tool("pool_sync", sync, none, self.sync, r.Synced),
            Tool("pool_set_aside", aside, a.SetAside, self.set_aside, r.SetAsideTold),
            Tool("pool_events", events, a.ListEvents, self.events, r.EventList, reads=True),
            Tool("pool_limits", limits, none, self.limits, r.Limits, reads=True),
            Tool("pool_end_cool_down", ending, a.EndCoolDown, self.end_cool_down, r.Freed),
            Tool("pool_usage", usage, a.ReadUsage, self.usage, r.UsageTold, reads=True),
            Tool("pool_nodes", "List the machines that run workers.", none, self.nodes, r.NodeList, reads=True),
        )

    async def dead(self, given: keeping_arguments.ListDead) -> Answer:
        """List dead letters."""
        found = await (await self._pools.manager()).dead_letters(pool=given.pool_id, limit=given.limit)
        value = keeping_results.DeadList(total=len(found), dead=found)
        head = f"{len(found)} tasks were given up" if found else "No task was given up."
        return Answer(texts.listed(head, map(_letter, found)), value.model_dump(mode="json"))

    async def show_dead(self, given: keeping_arguments.OneDead) -> Answer:
        """Tell all of a dead letter."""
        found = await (await self._pools.manager()).dead_letter(given.task_id)
        parts = [_letter(found), found.spec or found.message, found.output]
        return Answer("\n".join(part for part in parts if part), found.model_dump(mode="json"))

    async def replay(self, given: keeping_arguments.ReplayDead) -> Answer:
        """Run dead letters again."""
        _chosen(given.task_ids, everything=given.all)
        manager = await self._pools.manager()
        done = await manager.replay_dead(None if given.all else given.task_ids, pool=given.pool_id)
        return Answer(f"{len(done)} tasks run again. Ask for them with pool_task.", {"replayed": list(done)})

    async def purge(self, given: keeping_arguments.PurgeDead) -> Answer:
        """Forget dead letters."""
        _chosen(given.task_ids, everything=given.all or (given.older_than is not None and not given.task_ids))
        manager = await self._pools.manager()
        count = await manager.purge_dead(given.task_ids or None, older_than=given.older_than)
        return Answer(f"{count} dead letters were forgotten.", {"purged": count})

    async def sync(self, _: arguments.NoArguments) -> Answer:
        """Deliver the outbox."""
        done = await (await self._pools.manager()).sync_memory()
        head = f"{done['memory_items_synced']} memories were delivered, {done['memory_items_pending']} wait"
        return Answer(texts.listed(head, (f"{name}: {told}" for name, told in done["errors"].items())), done)

    async def set_aside(self, given: keeping_arguments.SetAside) -> Answer:
        """List, send again or forget refused records."""
        manager = await self._pools.manager()
        if given.action == "list":
            records = await manager.list_set_aside()
            told = keeping_results.SetAsideTold(records=records)
            lines = [f"{one['sink']}, task {one['task_id']}: {one['reason']}" for one in records]
            text = texts.listed(f"{len(records)} records were refused", lines)
        elif given.action == "retry":
            told = keeping_results.SetAsideTold(**await manager.retry_set_aside())
            text = f"{told.delivered} were delivered, {told.set_aside} are set aside still"
        else:
            told = keeping_results.SetAsideTold(purged=await manager.purge_set_aside())
            text = f"{told.purged} records were forgotten"
        return Answer(text, told.model_dump(mode="json"))

    async def events(self, given: keeping_arguments.ListEvents) -> Answer:
        """List events."""
        since = None if given.since is None else moment(given.since, name="since")
        manager = await self._pools.manager()
        found = await manager.events(pool=given.pool_id, types=given.types, since=since, limit=given.limit)
        value = keeping_results.EventList(total=len(found), events=found)
        return Answer(texts.listed(f"{len(found)} events", map(_event, found)), value.model_dump(mode="json"))

    async def limits(self, _: arguments.NoArguments) -> Answer:
        """Tell what holds tasks back."""
        value = keeping_results.Limits(**await (await self._pools.manager()).limits())
        resting = [f"{_where(one)} rests until {_clock(one.ends)}: {one.because}" for one in value.cool_downs]
        limited = [f"{one['name']}: rate limit {one['rate_limit']}, budget {one['budget']}" for one in value.pools]
        head = "Tasks are held back by" if resting or limited else "No limit holds tasks back."
        return Answer(texts.listed(head, [*resting, *limited]), value.model_dump(mode="json"))

    async def end_cool_down(self, given: keeping_arguments.EndCoolDown) -> Answer:
        """Let a worker type start again."""
        freed = await (await self._pools.manager()).end_cool_down(given.worker_type)
        text = f"{given.worker_type} starts again; {freed} tasks had waited for it"
        return Answer(text, {"worker_type": given.worker_type, "freed": freed})

    async def usage(self, given: keeping_arguments.ReadUsage) -> Answer:
        """Tell what AI programs used."""
        rows = await (await self._pools.manager()).usage(days=given.days, pool=given.pool_name)
        read, written = sum(row.input_tokens for row in rows), sum(row.output_tokens for row in rows)
        cost = sum(row.cost_usd for row in rows)
        value = keeping_results.UsageTold(rows=list(rows), input_tokens=read, output_tokens=written, cost_usd=cost)
        lines = (f"{row.day} {row.pool}, {row.task_type}: {row.runs} runs, ${row.cost_usd:.4f}" for row in rows)
        head = f"{read} tokens were read, {written} written, for ${cost:.4f}"
        return Answer(texts.listed(head, lines), value.model_dump(mode="json"))

    async def nodes(self, _: arguments.NoArguments) -> Answer:
        """List the machines."""
        found = await (await self._pools.manager()).nodes()
        value = keeping_results.NodeList(total=len(found), nodes=found)
        lines = (f"{one.name}: {'alive' if one.alive else 'lost'}, runs {', '.join(one.programs)}" for one in found)
        return Answer(texts.listed(f"{len(found)} machines", lines), value.model_dump(mode="json"))


def _chosen(task_ids: Sequence[str], *, everything: bool) -> None:
    remedy = "Name tasks (pool_dead_list shows them), or say all."
    if task_ids and everything:
        raise errors.InvalidField.of("all", "and single tasks exclude each other", remedy)
    if not (task_ids or everything):
        raise errors.InvalidField.of("task_ids", "is empty", remedy)


def _letter(one: DeadLetter) -> str:
    done = f" ({one.summary[: texts.SHORT]})" if one.summary else ""
    return f"{one.task_id}{done} in pool {one.pool_id}, after {one.attempts} attempts: {one.cause}"


def _event(one: Event) -> str:
    which = ", ".join(part for part in (one.pool or one.pool_id, one.task_id) if part)
    details = ", ".join(f"{name}={value}" for name, value in one.details.items())
    return f"{one.at:%Y-%m-%d %H:%M:%S} {one.type} {which} {details}".rstrip()[:500]


def _clock(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
