"""Reads what the metrics are made of: one look at all pools, leases and nodes, and what the server says of itself."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from mahavishnu_pools.store.calls import Call, pairs
from mahavishnu_pools.store.client import AsyncStore
from mahavishnu_pools.store.server import translate


@dataclass(frozen=True, slots=True)
class GroupFigures:
    """One worker group: its node, status, workers, what it takes, and how often it was started again."""

    node: str
    status: str
    workers: int
    memory_mb: float | None
    cpu_percent: float | None
    restarts: int


@dataclass(frozen=True, slots=True)
class PoolFigures:
    """What is counted of one pool.

    ``outcomes`` are tasks by (task type, status), ``durations`` by (task type, status, index of the bucket of their run
    time), ``waits`` first starts by bucket of their wait; the last bucket is one past the edges. ``counters`` are the
    other counts, by name and what they are divided by.
    """

    pool_id: str
    name: str
    pool_type: str
    status: str
    workers: int
    config: Mapping[str, Any]
    queued: int
    delayed: int
    suspects: int
    longest_wait: float
    groups: tuple[GroupFigures, ...]
    run_seconds: float
    wait_seconds: float
    outcomes: Mapping[tuple[str, str], int]
    durations: Mapping[tuple[str, str, int], int]
    waits: Mapping[int, int]
    counters: Mapping[tuple[str, ...], int]
    tokens_in: float
    tokens_out: float
    dollars: float
    mail: int


@dataclass(frozen=True, slots=True)
class LeaseFigures:
    """One lease: whose it is, how many tasks it holds, whether it was refreshed in time."""

    pool_id: str
    node: str
    claims: int
    alive: bool


@dataclass(frozen=True, slots=True)
class SystemFigures:
    """One look at everything. ``edges`` are the upper ends of the buckets as the server writes them, in seconds.

    ``cooling`` is worker type to seconds left, but for those that rest on one node alone.
    """

    at: float
    edges: tuple[str, ...]
    pools: tuple[PoolFigures, ...]
    leases: tuple[LeaseFigures, ...]
    nodes: Mapping[str, bool]
    dead_letters: int
    bus: Mapping[str, int]
    cooling: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ServerFigures:
    """What the server says of itself; bytes and seconds. ``memory_limit`` 0: none."""

    memory: int
    memory_limit: int
    clients: int
    script_calls: int
    script_seconds: float


def read_figures() -> Call[SystemFigures]:
    """Read the figures of the whole system in one look."""
    return Call("metrics_read", (), _system)


async def read_server(store: AsyncStore) -> ServerFigures:
    """Read what the server says of itself; what it hides is 0.

    Raises:
        RedisUnavailable: it does not answer.
    """
    told: dict[str, Any] = {}
    try:
        for section in ("memory", "clients", "commandstats"):
            told |= await store.redis.info(section)
    except (RedisError, OSError) as exc:
        raise translate(exc, url=store.url) from exc
    scripts = [told[name] for name in ("cmdstat_evalsha", "cmdstat_eval") if name in told]
    return ServerFigures(
        memory=int(told.get("used_memory", 0)),
        memory_limit=int(told.get("maxmemory", 0)),
        clients=int(told.get("connected_clients", 0)),
        script_calls=sum(one["calls"] for one in scripts),
        script_seconds=sum(one["usec"] for one in scripts) / 1e6,
    )


def _system(reply: list[Any]) -> SystemFigures:
    at, edges, pools, leases, nodes, dead, bus, cooling = reply
    now = float(at)
    known = [(json.loads(about), alive) for about, alive in nodes]
    cool = {kind: json.loads(text)["ends"] - now for kind, text in pairs(cooling).items() if "\n" not in kind}
    return SystemFigures(
        at=now,
        edges=tuple(edges),
        pools=tuple(_pool(*one) for one in pools),
        leases=tuple(_lease(*one) for one in leases),
        nodes={about["name"]: bool(alive) for about, alive in known},
        dead_letters=dead,
        bus={kind: int(number) for kind, number in pairs(bus).items()},
        cooling={kind: left for kind, left in cool.items() if left > 0},
    )


def _lease(about: str, claims: int, alive: int) -> LeaseFigures:
    told = json.loads(about)
    return LeaseFigures(told["pool"], told["node"], claims, bool(alive))


def _pool(*entry: Any) -> PoolFigures:
    pool_id, name, kind, status, workers, config, queued, delayed, suspects, wait, groups, figures, *rest = entry
    run_seconds, spent, mail = rest
    counted = _Counted(pairs(figures))
    tokens_in, tokens_out, dollars = (float(one or 0) for one in spent)
    return PoolFigures(
        pool_id=pool_id,
        name=name,
        pool_type=kind,
        status=status,
        workers=int(workers),
        config=json.loads(config),
        queued=queued,
        delayed=delayed,
        suspects=suspects,
        longest_wait=float(wait),
        groups=tuple(_group(node, text) for node, text in pairs(groups).items()),
        run_seconds=float(run_seconds),
        wait_seconds=counted.wait_seconds,
        outcomes=counted.outcomes,
        durations=counted.durations,
        waits=counted.waits,
        counters=counted.others,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        dollars=dollars,
        mail=mail,
    )


def _group(node: str, text: str) -> GroupFigures:
    told = json.loads(text)
    memory, cpu = told.get("memory_mb"), told.get("cpu_percent")
    return GroupFigures(node, told["status"], told["workers"], memory, cpu, told.get("restarts", 0))


class _Counted:
    """A pool's hash of figures, taken apart. Its fields begin with a letter for what they count (see prelude.lua)."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self.wait_seconds = float(fields.get("wait_sum", 0))
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.durations: Counter[tuple[str, str, int]] = Counter()
        self.waits: dict[int, int] = {}
        self.others: dict[tuple[str, ...], int] = {}
        for name, value in fields.items():
            if name != "wait_sum":
                self._take(name, int(value))

    def _take(self, name: str, number: int) -> None:
        kind, _, rest = name.partition("\n")
        if kind == "t":
            task_type, status, edge = rest.rsplit("\n", 2)
            self.outcomes[task_type, status] += number
            if edge:
                self.durations[task_type, status, int(edge) - 1] += number
        elif kind == "w":
            self.waits[int(rest) - 1] = number
        else:
            self.others[tuple(name.split("\n"))] = number
