"""Every Redis key of this project: its pattern, type, lifetime, writer and reader. This table is the only place.

The Lua scripts get their key functions generated from it (``lua_functions``), so a key is never spelled twice. All of
them begin with the namespace (``MAHAVISHNU_NAMESPACE`` and a colon, or nothing).
"""

from __future__ import annotations

from dataclasses import dataclass

#: Everything of ours that is not dictated by Celery begins with this.
PREFIX = "mhv:"


@dataclass(frozen=True, slots=True)
class Key:
    """One family of keys. ``pattern`` has at most one ``{}``, the thing it belongs to."""

    name: str
    pattern: str
    kind: str
    lifetime: str
    writer: str
    reader: str
    meaning: str


# fmt: off
KEYS: tuple[Key, ...] = (
    # ── pools ──
    Key("registry", "mhv:registry", "string", "kept", "pool_*", "submit, agents",
        "Counter, raised at every change of pools"),
    Key("pools", "mhv:pools", "zset", "kept", "pool_create, pool_remove", "all",
        "Ids of living pools, by order of creation"),
    Key("pool_names", "mhv:pool_names", "hash", "kept", "pool_create, pool_remove", "all", "Pool name to pool id"),
    Key("pool", "mhv:pool:{}", "hash", "until closed", "pool_*, finish", "all",
        "Configuration, status, wanted workers, statistics"),
    Key("gone", "mhv:gone:{}", "string", "7 days", "pool_remove", "submit", "Id or name of a closed pool"),
    Key("groups", "mhv:groups:{}", "hash", "until closed", "agents", "all",
        "Worker groups of a pool: node to JSON state"),
    Key("nothing", "mhv:nothing", "-", "never exists", "-", "-",
        "Removed by scripts that must be able to write on a full Redis"),
    Key("seq", "mhv:seq", "string", "kept", "submit, pool_*", "-", "Counter that orders turns"),
    Key("load", "mhv:load", "zset", "kept", "all that change a load", "submit",
        "Load index: 'turn:pool id' by load, derived, rewritten, never counted up"),
    Key("turns", "mhv:turns", "zset", "kept", "submit, pool_create", "submit",
        "Pool id by its last turn of round_robin"),
    Key("affinity_turns", "mhv:affinity_turns", "zset", "kept", "submit", "submit",
        "Pool id by its last new affinity key"),
    Key("affinity", "mhv:affinity:{}", "string", "30 days after last use", "submit", "submit",
        "Affinity key to pool id"),
    Key("figures", "mhv:figures:{}", "hash", "until closed", "submit, claim, finish, …", "metrics",
        "Figures of a pool: tasks by strategy; outcomes by type, status, run time; waits; retries, losses, scalings"),
    # ── tasks ──
    Key("task", "mhv:task:{}", "hash", "result_expires after the outcome", "submit, claim, finish", "all",
        "Task record"),
    Key("idem", "mhv:idem:{}", "string", "with the task", "submit, finish", "submit", "Idempotency key to task id"),
    Key("recent", "mhv:recent:{}", "list", "until closed", "finish", "aggregate_results",
        "Last 1000 finished task ids of a pool"),
    Key("batch", "mhv:batch:{}", "hash", "result_expires after the last change", "submit, finish", "all",
        "Counts of a batch and what follows it; of a contest, how it is decided and who won"),
    Key("batch_tasks", "mhv:batch_tasks:{}", "list", "with the batch", "submit", "all",
        "Task ids of a batch in input order"),
    Key("log", "mhv:log:{}", "stream", "result_expires after the last line", "worker groups", "task --follow",
        "Live output of a task"),
    Key("dead", "mhv:dead", "zset", "dead_letter_expires, 10,000 members", "claim, reap, finish", "dead",
        "Dead-letter ids by time"),
    Key("dead_letter", "mhv:dead_letter:{}", "hash", "dead_letter_expires", "claim, reap, finish", "dead",
        "One dead letter: message, cause, pool"),
    # ── delivery ──
    Key("bell", "mhv:bell:{}", "stream", "until closed", "submit, cancel, pool_*", "worker groups",
        "The newest entry wakes the waiting groups of a pool; about a hundred older ones are there"),
    Key("periodic", "mahavishnu.periodic", "list", "kept", "beat", "claim",
        "Waiting periodic tasks; any worker group takes them"),
    Key("delayed", "mhv:delayed:{}", "zset", "until closed", "claim, finish", "claim",
        "Messages of a pool that are due later, by time"),
    Key("suspects", "mhv:suspects:{}", "list", "until closed", "reap, finish", "claim",
        "Tasks of a pool that may have killed their worker group; they run alone: task id, bucket and message"),
    Key("ended", "mhv:ended:{}", "set", "until closed", "cancel", "claim, all that count what waits",
        "Cancelled tasks of a pool whose messages have not left it yet"),
    Key("leases", "mhv:leases", "hash", "until released or reaped", "lease_open", "reapers",
        "Lease id to JSON: pool, node, pid, start time"),
    Key("lease", "mhv:lease:{}", "string", "lease_ttl, refreshed", "lease_open, lease_refresh", "all scripts",
        "Exists while the consumer lives"),
    Key("pool_leases", "mhv:pool_leases:{}", "set", "until closed", "lease_open, reap", "all", "Lease ids of a pool"),
    Key("claims", "mhv:claims:{}", "hash", "until released or reaped", "claim, finish, reap", "all",
        "Claim number to task id, bucket and message"),
    Key("reply", "mhv:reply:{}", "hash", "until released or reaped", "claim", "claim, pool_read",
        "Last request id of a lease, its claims, claim counter, which claims are periodic work"),
    Key("moved", "mhv:moved:{}", "string", "1 minute", "move", "move", "Reply to a request to move waiting tasks"),
    Key("failover", "mhv:failover:{}", "string", "some seconds", "failover_turn", "failover_turn",
        "Node whose agent takes over the queue of a pool that nobody runs"),
    Key("cancels", "mhv:cancels:{}", "set", "until released or reaped", "cancel", "claim",
        "Tasks of a lease whose end was asked for"),
    Key("cooldowns", "mhv:cooldowns", "hash", "some seconds to 14 days", "finish", "claim, limits",
        "Worker type (with a line end and a node: of one that is not logged in there) to JSON: until when no prompt "
        "starts with it, why, and whether its end was noted"),
    Key("usage", "mhv:usage:{}", "hash", "400 days", "finish", "usage",
        "What AI programs used on a day (days since 1970), by pool name, task type and kind of figure"),
    Key("spent", "mhv:spent:{}", "hash", "400 days after the last run", "finish", "finish, usage",
        "What a pool has used, today and in all, for its budget"),
    Key("delegated", "mhv:delegated:{}", "hash", "until closed", "delegated_note", "delegated_read",
        "Tasks of a pool that another instance runs: task id to JSON, that instance and the task's id there"),
    Key("grown", "mhv:grown:{}", "string", "1 minute", "pool_grow", "pool_grow",
        "Workers of a pool after a request for more or fewer, so that a repeated one counts once"),
    Key("scaler", "mhv:scaler:{}", "string", "some seconds, refreshed", "scaling_look", "scaling_set",
        "Node whose agent scales a pool"),
    Key("untold", "mhv:untold:{}", "list", "result_expires after the last one", "cancel, finish, reap, …", "untold",
        "Messages of an app's tasks in groups that ended without Celery, until it was told"),
    Key("telling", "mhv:telling:{}", "string", "some seconds", "untold", "untold", "Worker that tells Celery of them"),
    # ── memory ──
    Key("outbox", "mhv:outbox", "stream", "7 days, 100,000 entries, 256 MiB", "finish, cancel, …", "sync, search",
        "Outcomes of tasks, numbered, that memory records are made of"),
    Key("outbox_count", "mhv:outbox_count", "string", "kept", "finish, cancel, reap, …", "memory sync",
        "Number of the last outcome in the outbox"),
    Key("outbox_id", "mhv:outbox_id", "string", "kept", "outbox_id", "search",
        "Random name of this outbox; a search index keeps its place in it under this name"),
    Key("set_aside", "mhv:set_aside:{}", "stream", "30 days, 1,000 records", "sink_confirm, aside_drop", "aside_*",
        "Records that a sink refused while it took others: id, reason, record"),
    Key("sink", "mhv:sink:{}", "hash", "kept", "sink_take, sink_confirm, sink_fail", "memory sync, stats",
        "How far a sink has confirmed, its failures, what was dropped and set aside"),
    Key("sink_lock", "mhv:sink_lock:{}", "string", "some seconds, refreshed", "sink_take, sink_confirm", "sink_*",
        "Who delivers to a sink"),
    # ── message bus ──
    Key("bus_count", "mhv:bus_count", "hash", "kept", "bus_publish, finish, …", "buses",
        "Number of the last message by type; who listens knows by it what it missed"),
    Key("bus_sent", "mhv:bus_sent:{}", "string", "1 minute", "bus_publish", "bus_publish",
        "Number of a bus' last request, so that a repeated one is carried out once"),
    Key("mailbox", "mhv:mailbox:{}", "list", "1 hour after the last message", "bus_publish, finish, …", "mailbox_take",
        "Messages sent to a pool that nobody has received, at most 1,000 and 16 MiB"),
    Key("mail_taken", "mhv:mail_taken:{}", "string", "1 minute", "mailbox_take", "mailbox_take",
        "What a receiver's last request took, so that a repeated one takes the same"),
    # ── journal ──
    Key("events", "mhv:events:{}", "stream", "100,000 of tasks, 10,000 of others", "pool_*, finish, reap, …", "events",
        "Journal: what became of pools and nodes (pools), of tasks (tasks), what was told (programs)"),
    Key("event_noted", "mhv:event_noted:{}", "string", "1 minute", "event_note", "event_note",
        "Id of an event that a program told, so that a repeated request notes it once"),
    Key("held", "mhv:held:{}", "hash", "until decided", "submit, approve, …", "approve",
        "Message of a task that awaits approval or waits for others, and how its pool is chosen then"),
    Key("awaiting", "mhv:awaiting", "zset", "until decided", "submit, approve, …", "tasks, beat",
        "Tasks that await approval, by when that expires"),
    # ── dependencies ──
    Key("waiting", "mhv:waiting", "zset", "until they have ended", "submit, release_start, …", "tasks",
        "Tasks that come after others which have not ended, by when they were sent; their messages are held"),
    Key("children", "mhv:children:{}", "zset", "until they have ended", "submit, release", "release",
        "Tasks that come after this one, in the order they were sent in"),
    Key("releasing", "mhv:releasing", "list", "until decided", "finish, cancel, submit, …", "release",
        "Tasks that have ended, each with its status, of which not all that come after them are told yet"),
    Key("ready", "mhv:ready", "zset", "until decided", "release, release_later", "release",
        "Tasks that wait for nothing any more but a pool, by when one is chosen for them"),
    Key("release_turn", "mhv:release_turn", "string", "some seconds, refreshed", "release", "release",
        "Node whose agent tells tasks of the ends of those they come after"),
    # ── sessions of AI programs ──
    Key("agent_session", "mhv:agent_session:{}", "string", "30 days after its last turn", "session_keep",
        "session_read",
        "Session that tasks of a key go on with, by worker type and directory: the program's id of it, and its node"),
    # ── contests ──
    Key("contests", "mhv:contests", "zset", "until decided or over", "submit, contest_expire, …", "beat",
        "Batches that are contests with a deadline, by when that is over"),
    # ── schedules ──
    Key("schedules", "mhv:schedules", "zset", "until removed", "schedule_*", "beat",
        "Names of schedules by their next planned time; paused ones at infinity"),
    Key("schedule", "mhv:schedule:{}", "hash", "until removed", "schedule_*", "beat, all",
        "A schedule: definition (JSON), status, next planned time; the last run where none is to overlap"),
    Key("schedule_runs", "mhv:schedule_runs:{}", "hash", "until removed", "schedule_note, schedule_due", "schedules",
        "The last 100 runs of a schedule: number to JSON"),
    Key("schedule_open", "mhv:schedule_open", "hash", "until they have ended", "schedule_note", "schedule_due",
        "Tasks of schedules whose outcomes are not in the history yet: task id to run and schedule"),
    # ── nodes ──
    Key("instance", "mhv:instance", "string", "kept", "instance_id", "bridges, server",
        "Random id of this instance, by which others know it that delegate tasks to it"),
    Key("nodes", "mhv:nodes", "hash", "until left or forgotten", "agents", "all",
        "Node name to JSON: tags, region, agent pid"),
    Key("node", "mhv:node:{}", "string", "node_lost_after, refreshed", "agents", "all",
        "Exists while the node's agent lives"),
    Key("node_name", "mhv:node_name:{}", "string", "some seconds", "node_claim", "node_claim",
        "Agent that took the name and will beat in a moment"),
    Key("used", "mhv:used:{}", "hash", "9 days after the last claim", "claim, finish, reap", "claim, submit, nodes",
        "What is in use of a node: claim to JSON of resources and devices; counts while the claim is held"),
    Key("reserved", "mhv:reserved:{}", "string", "20 minutes", "claim", "claim, submit",
        "Task that a node keeps for what gets free, what it needs, and until when (JSON)"),
    Key("needing", "mhv:needing", "set", "until closed", "claim, reap, move", "finish, reap",
        "Pools with tasks that wait for what they need of a node"),
    Key("examine", "mhv:examine", "string", "1 minute", "node_ask", "node_beat", "Question of a check to every agent"),
    Key("node_report", "mhv:node_report:{}", "string", "1 minute", "node_answer", "node_answers",
        "A node's answer to it: clock, limits, programs"),
    # ── channels (pub/sub, hold nothing) ──
    Key("changed", "mhv:changed", "channel", "-", "pool_*", "agents, clients", "A pool changed: its id"),
    Key("release", "mhv:release", "channel", "-", "finish, cancel, …", "agents", "Tasks may wait for nothing any more"),
    Key("client", "mhv:client:{}", "channel", "-", "finish", "the client", "Outcomes of the tasks a client submitted"),
    Key("bus", "mhv:bus:{}", "channel", "-", "bus_publish, pool_*, finish, node_beat", "buses",
        "Messages of a type: the number of the last one, then a line of JSON for each"),
    Key("mail", "mhv:mail:{}", "channel", "-", "bus_publish, finish, …", "buses", "A pool's mailbox has a message"),
    # ── Celery's own, written so that stock Celery understands them ──
    Key("queue", "pool.{}", "list", "until closed", "submit, stock producers", "claim",
        "Waiting messages; buckets 1–9 add kombu's separator and the number"),
    Key("binding", "_kombu.binding.pool.{}", "set", "until closed", "stock producers", "stock producers",
        "kombu's binding of a pool's queue, made by stock clients"),
    Key("meta", "celery-task-meta-{}", "string + channel", "result_expires", "finish", "AsyncResult",
        "Result in Celery's form"),
)
# fmt: on

_BY_NAME = {key.name: key for key in KEYS}


def namespace_prefix(namespace: str) -> str:
    """Return what every key begins with: the namespace and a colon, or nothing."""
    return f"{namespace}:" if namespace else ""


def key(name: str, *, prefix: str, of: str = "") -> str:
    """Return one key of the table with the namespace's prefix; ``of`` is what it belongs to."""
    return prefix + _BY_NAME[name].pattern.replace("{}", of)


def lua_functions() -> str:
    """Return the Lua key functions, one a family: ``k_pool(id)``, ``k_pools()``; they expect the prefix in ``NS``."""
    lines = []
    for name in _BY_NAME:
        argument = "x" if "{}" in _BY_NAME[name].pattern else ""
        lines.append(f"local function k_{name}({argument}) return {lua_expression(name, argument)} end")
    return "\n".join(lines) + "\n"


def lua_expression(name: str, argument: str) -> str:
    """Return what a call of a key function stands for; ``argument`` is a Lua expression, or empty.

    Raises:
        KeyError: there is no such family.
    """
    head, brace, tail = _BY_NAME[name].pattern.partition("{}")
    parts = [f"'{head}'", f"({argument})" if brace else "", f"'{tail}'" if tail else ""]
    return f"(NS .. {' .. '.join(part for part in parts if part)})"
