"""What the tools for keeping a system in order answer, as JSON."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from mahavishnu_pools.schemas.base import Value
from mahavishnu_pools.schemas.dead import DeadLetter
from mahavishnu_pools.schemas.event import Event
from mahavishnu_pools.schemas.limits import CoolDown, UsageRow
from mahavishnu_pools.store.pools import NodeInfo


class DeadList(Value):
    """Tasks that were given up, the newest first."""

    total: int
    dead: list[DeadLetter]


class Replayed(Value):
    """Dead letters that run again."""

    replayed: list[str] = Field(description="Their ids, which stay.")


class Purged(Value):
    """Dead letters that were forgotten."""

    purged: int


class Synced(Value):
    """What was delivered to the memory servers; ``memory_items_synced`` counts what they confirmed."""

    pools_synced: int
    memory_items_synced: int
    memory_items_pending: int
    timestamp: str
    errors: dict[str, str] = Field(description="Why a server took nothing, by its name.")


class SetAsideTold(Value):
    """The records that a server refused while it took others; what was not asked for is null."""

    records: list[dict[str, Any]] | None = Field(
        default=None, description="sink, memory_id, task_id, reason, content …"
    )
    delivered: int | None = None
    set_aside: int | None = Field(default=None, description="How many are left.")
    purged: int | None = None
    errors: dict[str, str] = Field(default_factory=dict)


class EventList(Value):
    """Events, the oldest first."""

    total: int
    events: list[Event]


class Limits(Value):
    """What holds tasks back."""

    cool_downs: list[CoolDown] = Field(description="Worker types that rest, until ends (epoch seconds).")
    pools: list[dict[str, Any]] = Field(description="pool_id, name, rate_limit, and budget with what was spent of it.")


class Freed(Value):
    """A worker type that starts again."""

    worker_type: str
    freed: int = Field(description="Tasks that had waited for it.")


class UsageTold(Value):
    """What AI programs reported, the newest day first."""

    rows: list[UsageRow]
    input_tokens: int
    output_tokens: int
    cost_usd: float


class NodeList(Value):
    """The machines that run workers, also those that are lost."""

    total: int
    nodes: list[NodeInfo]
