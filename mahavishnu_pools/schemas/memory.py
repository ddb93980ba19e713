"""Memory records: what is kept of a finished task to be found again by search."""

from __future__ import annotations

from pydantic import AwareDatetime, Field, JsonValue

from mahavishnu_pools.schemas.base import MappingValue

#: ``metadata["type"]`` of the record of a task that ran on a pool.
POOL_EXECUTION = "pool_worker_execution"

#: Bytes of UTF-8 that a record's content may take.
MAX_CONTENT_BYTES = 16 * 1024


class MemoryRecord(MappingValue):
    """One record. ``memory_id`` is the same whenever the same outcome is recorded again, so delivery can be repeated.

    ``metadata`` of a task's record has ``type, pool_id, pool_type, worker_id, task_id, status, duration_seconds,
    exit_code, error`` and ``timestamp`` (ISO 8601, the same moment as the field).
    """

    memory_id: str = Field(min_length=1, max_length=200)
    content: str
    timestamp: AwareDatetime
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
