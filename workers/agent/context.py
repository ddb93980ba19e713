"""What the parts of a controller share."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store.client import AsyncStore

from .containers import ContainerSweeper
from .group import GroupTable
from .link import ZygoteLink
from .memory import MemoryWatch
from .node import AgentIdentity, NodeFacts
from .trees import Mark, Sweeper


@dataclass(slots=True)
class AgentContext:
    """See the module.

    ``leases`` are those this controller is responsible for, from the start of a group until its claims were handed
    back. ``heard_at`` is the monotonic time of the last word from Redis. ``hurry`` cuts every drain short.
    """

    settings: Settings
    redis_url: str = field(repr=False)
    store: AsyncStore
    me: AgentIdentity
    facts: NodeFacts
    link: ZygoteLink
    table: GroupTable
    sweeper: Sweeper = field(default_factory=Sweeper)
    leases: set[str] = field(default_factory=set)
    memory: MemoryWatch = field(default_factory=MemoryWatch)
    heard_at: float = field(default_factory=time.monotonic)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    hurry: asyncio.Event = field(default_factory=asyncio.Event)
    containers: ContainerSweeper = field(init=False)

    def __post_init__(self) -> None:
        self.containers = ContainerSweeper(self.me.agent_id)

    def mark(self, pool_id: str, lease: str, *, shared: bool = False) -> Mark:
        """Return what the programs of one of this agent's groups carry."""
        return Mark(pool_id, lease, self.me.agent_id, shared=shared)
