"""What the tools for keeping a system in order take. The descriptions are what clients and ``docs/mcp.md`` show."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mahavishnu_pools.schemas.base import Value

_ALL = "True instead of ids: all of them."


class ListDead(Value):
    """Which dead letters are listed."""

    pool_id: str | None = Field(default=None, description="Only those of this pool (id or name).")
    limit: int = Field(default=100, ge=1, le=10_000, description="The newest so many.")


class OneDead(Value):
    """A dead letter."""

    task_id: str = Field(description="Id of the task that was given up.")


class ReplayDead(Value):
    """Dead letters that run again."""

    task_ids: list[str] = Field(default_factory=list, description="Ids of tasks that were given up.")
    all: bool = Field(default=False, description=_ALL)
    pool_id: str | None = Field(default=None, description="Run them on this pool; none: on their own.")


class PurgeDead(Value):
    """Dead letters that are forgotten."""

    task_ids: list[str] = Field(default_factory=list, description="Ids of tasks that were given up.")
    all: bool = Field(default=False, description=_ALL)
    older_than: float | None = Field(default=None, gt=0, description="Spare those given up later than seconds ago.")


class SetAside(Value):
    """The records that a memory server refused."""

    action: Literal["list", "retry", "purge"] = Field(
        default="list", description="list them, retry: send them again, purge: forget them."
    )


class ListEvents(Value):
    """Which events are listed."""

    pool_id: str | None = Field(default=None, description="Only of this pool (id or name, also a closed one's).")
    types: list[str] = Field(default_factory=list, description="Only of these types; task_*: of all like it.")
    since: str | None = Field(default=None, description="Only those since: 15m, 2h, 1d, or an ISO time.")
    limit: int = Field(default=50, ge=1, le=10_000, description="The newest so many.")


class EndCoolDown(Value):
    """A worker type that is to start again."""

    worker_type: str = Field(description="A worker type that cools down, as pool_limits tells it.")


class ReadUsage(Value):
    """Which usage is told."""

    days: int = Field(default=30, ge=1, le=400, description="Today and the days before (UTC).")
    pool_name: str | None = Field(default=None, description="Only of this pool, also of a closed one.")
