"""Documents about pools: values of the manager go in, what is printed comes out. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mahavishnu_pools.cli.formats.cells import sign_of
from mahavishnu_pools.cli.formats.interface import Block, Cell, Column, Document, Fields, Note, State, Table

if TYPE_CHECKING:
    from mahavishnu_pools.schemas.pool import ClusterPlace, PoolInfo

#: On a narrow terminal the name is what stays: it is what is typed next, and stands for the id in every command.
_POOL_COLUMNS = (
    Column("Pool ID", whole=True, spare=2),
    Column("Name", whole=True),
    Column("Type", spare=3, least=10),
    Column("Status", whole=True),
    Column("Workers", "right", spare=1),
    Column("Range", only="table", spare=4),
    Column("Region", only="markdown"),
)

#: Figures with a row of their own at the top of the statistics.
_SHOWN_FIRST = frozenset({"pools", "workers", "pools_active", "by_type"})

_NO_POOLS = "No pools. Make one with: mahavishnu pools spawn --name NAME"
_NONE_SUCH = "No such pools. All there are: mahavishnu pools list"


def pool_list(pools: Sequence[PoolInfo], *, narrowed: bool = False) -> Document:
    """Return the document of ``pools list``; ``narrowed``: not all pools were asked for."""
    rows = tuple(_pool_row(pool) for pool in pools)
    none = Note(_NONE_SUCH if narrowed else _NO_POOLS)
    blocks: tuple[Block, ...] = (Table("Active Pools", _POOL_COLUMNS, rows),) if rows else (none,)
    return Document({"pools": [pool_data(pool) for pool in pools]}, blocks)


def pool_details(pool: PoolInfo, *, done: str | None = None) -> Document:
    """Return the document of one pool; ``done`` is what was just done with it (None: it was only looked at)."""
    head: tuple[Block, ...] = (Note(done, good=True),) if done else ()
    return Document(pool_data(pool), (*head, _pool_fields(pool), _pool_metrics(pool)))


def spawned(pool: PoolInfo, *, grows: bool) -> Document:
    """Return the document of ``pools spawn``; ``grows``: to a limit that the caller did not name."""
    document = pool_details(pool, done=f"Pool {pool.name} is {pool.status.value}")
    if not grows:
        return document
    hint = Note(
        f"  It grows to {pool.max_workers} workers when tasks wait; --max sets another limit, "
        f"--no-auto-scale keeps {pool.min_workers}."
    )
    return Document(document.data, (*document.blocks[:1], hint, *document.blocks[1:]))


def health(found: Mapping[str, Any]) -> Document:
    """Return the document of ``pools health``."""
    head = Fields(
        None,
        (
            ("Pool Manager Health", str(found["status"]).upper()),
            ("Active Pools", found["pools_active"]),
            *((("Agents", found["agents"]),) if "agents" in found else ()),
        ),
    )
    pools = tuple(_pool_health(pool) for pool in found["pools"])
    told = _memory_notes(found.get("memory_sync", {}).get("sinks", {}))
    return Document(dict(found), (head, Fields("Pool Status", pools) if pools else Note(_NO_POOLS), *told))


def _memory_notes(sinks: Mapping[str, Any]) -> tuple[Note, ...]:
    """Return a line for each memory server that lost or refused records; one that is merely away gets them later."""
    lost = {name: (one["dropped"], one["set_aside"]) for name, one in sinks.items()}
    return tuple(
        Note(f"Memory of {name}: {dropped} records dropped, {aside} set aside (pools sync --set-aside list)")
        for name, (dropped, aside) in lost.items()
        if dropped or aside
    )


def statistics(found: Mapping[str, Any], pools: Sequence[PoolInfo]) -> Document:
    """Return the document of ``pools stats``; ``pools`` are those the figures are about."""
    counts = {f"pools_{word}": sum(pool.status.value == word for pool in pools) for word in ("degraded", "failed")}
    rows: list[tuple[str, Cell]] = [
        ("Total Pools", found["pools"]),
        ("Total Workers", found["workers"]),
        ("Active Pools", found["pools_active"]),
        ("Degraded Pools", counts["pools_degraded"]),
        ("Failed Pools", counts["pools_failed"]),
    ]
    for kind, figures in found.get("by_type", {}).items():
        rows += [(f"{kind}_pools", figures["pools"]), (f"{kind}_workers", figures["workers"])]
    others = {name: value for name, value in found.items() if name not in _SHOWN_FIRST}
    rows += [(name.replace("_", " ").title(), value) for name, value in _flat(others)]
    table = Table("Pool Statistics", (Column("Metric"), Column("Value", "right")), tuple(rows))
    return Document({**found, **counts}, (table,))


def pool_data(pool: PoolInfo) -> dict[str, Any]:
    """Return a pool as JSON data."""
    return pool.model_dump(mode="json")


def _pool_row(pool: PoolInfo) -> tuple[Cell, ...]:
    return (
        pool.pool_id,
        pool.name,
        pool.pool_type,
        State(pool.status.value),
        pool.workers,
        f"{pool.min_workers}-{pool.max_workers}",
        pool.region,
    )


def _pool_fields(pool: PoolInfo) -> Fields:
    optional: tuple[tuple[str, Cell], ...] = (
        ("Worker Type", pool.worker_type),
        ("Tags", ", ".join(pool.tags) or None),
        ("Nodes", ", ".join(pool.nodes) or None),
        ("Replicas", pool.replicas if pool.replicas != 1 else None),
        ("Allowed Roots", ", ".join(pool.allowed_roots or ()) or None),
        ("Isolation", pool.isolation),
        ("Imports", ", ".join(pool.imports) or None),
        ("Celery App", pool.celery_app),
        *_cluster_fields(pool.kubernetes),
        ("Note", pool.reason),
    )
    rows: tuple[tuple[str, Cell], ...] = (
        ("Pool", pool.pool_id),
        ("Name", pool.name),
        ("Type", pool.pool_type),
        ("Status", State(pool.status.value)),
        ("Workers", f"{pool.workers} ({pool.min_workers}-{pool.max_workers})"),
        ("Region", pool.region),
        *((label, value) for label, value in optional if value is not None),
    )
    return Fields(None, rows)


def _cluster_fields(place: ClusterPlace | None) -> tuple[tuple[str, Cell], ...]:
    if place is None:
        return ()
    return (
        ("Mode", place.mode),
        ("Namespace", place.namespace),
        ("Context", place.context or "the cluster this runs in"),
        ("Image", place.container_image),
    )


def _pool_metrics(pool: PoolInfo) -> Fields:
    return Fields(
        "Metrics",
        (
            ("Tasks Completed", pool.tasks_completed),
            ("Tasks Failed", pool.tasks_failed),
            ("Tasks Running", pool.running),
            ("Tasks Queued", pool.queued),
            ("Avg Duration", None if pool.avg_duration is None else f"{pool.avg_duration:.2f}s"),
            ("Memory Usage", None if pool.memory_mb is None else f"{pool.memory_mb:.1f} MB"),
        ),
    )


def _pool_health(pool: Mapping[str, Any]) -> tuple[str, Cell]:
    status = str(pool["status"])
    about = [f"{pool['workers']} {'worker' if pool['workers'] == 1 else 'workers'}"]
    if status not in ("running", "healthy"):
        about.append(status)
    name = f" ({pool['name']})" if pool.get("name") else ""
    reason = f": {pool['reason']}" if pool.get("reason") else ""
    return f"{sign_of(status)} {pool['pool_id']}", f"{', '.join(about)}{name}{reason}"


def _flat(found: Mapping[str, Any], outer: str = "") -> list[tuple[str, Cell]]:
    """Return nested figures as one list; the names of inner ones follow those of the outer ones."""
    rows: list[tuple[str, Cell]] = []
    for name, value in found.items():
        full = f"{outer}_{name}" if outer else name
        rows.extend(_flat(value, full) if isinstance(value, Mapping) else [(full, value)])
    return rows
