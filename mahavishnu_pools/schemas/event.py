"""An event of the journal, as people and programs see it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from mahavishnu_pools.schemas.base import MappingValue


class Event(MappingValue):
    """What happened, when, and to what. ``pool`` is the pool's name at that time; ``details`` depend on the type."""

    event_id: str
    at: datetime
    type: str
    pool_id: str | None = None
    pool: str | None = None
    task_id: str | None = None
    details: dict[str, Any] = Field(default_factory=dict)
