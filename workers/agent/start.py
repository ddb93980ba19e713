"""What a worker group is started with, and the function that runs one."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, runtime_checkable

from pydantic import SecretStr

from mahavishnu_pools.schemas.pool import PoolConfig
from mahavishnu_pools.settings import Settings


@dataclass(frozen=True, slots=True)
class GroupStart:
    """Everything a worker group needs to know; it goes through JSON because a group may be started by exec.

    ``workers`` is what the pool wants on all its ``replicas`` nodes together; ``fixed`` is what this group has whatever
    the pool wants, None: its share. A group that is ``alone`` has one, for tasks that may have killed their group.
    ``config`` is the JSON form of the
    PoolConfig, ``settings`` that of the Settings without the Redis URL. ``worker_type`` None: no AI program
    is here. ``agent_pid`` is the zygote: a group whose parent is another process has lost its agent and ends itself.
    """

    pool_id: str
    node: str
    lease: str
    workers: int
    replicas: int
    config: Mapping[str, Any]
    worker_type: str | None
    settings: Mapping[str, Any]
    redis_url: str = field(repr=False)
    agent_pid: int
    agent_id: str
    allowed_roots: tuple[str, ...]
    data_dir: str
    alone: bool = False
    generation: str = ""
    fixed: int | None = None

    @property
    def share(self) -> int:
        """Return how many workers this group is to have now."""
        return 1 if self.alone else self.fixed or share_of(self.workers, replicas=self.replicas)

    def pool_config(self) -> PoolConfig:
        """Return the pool's configuration."""
        return PoolConfig.model_validate(self.config)

    def load_settings(self) -> Settings:
        """Return the agent's settings, whatever this process's environment says."""
        return Settings(**{**self.settings, "redis_url": SecretStr(self.redis_url)})

    def to_json(self) -> str:
        """Return the start data as JSON; it holds the password of Redis."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> GroupStart:
        """Rebuild start data from what ``to_json`` returned."""
        raw = json.loads(text)
        return cls(**{**raw, "allowed_roots": tuple(raw["allowed_roots"])})


class GroupFunction(Protocol):
    """Runs the workers of a pool in this process until TERM and returns the exit code.

    It must open the lease of ``start``, call ``news("ready", …)`` when it takes tasks and ``tick`` at least once a
    second from the loop that takes them. TERM means: take no more, let running tasks end, hand the rest back, return 0.
    Before it closes its lease it calls ``news("leaving", …)``: a group whose lease is gone without that is killed.
    """

    def __call__(
        self, start: GroupStart, *, tick: Callable[[], None], news: Callable[[str, dict[str, Any]], None]
    ) -> int:
        """Run until TERM."""
        ...


@runtime_checkable
class PreparedFunction(Protocol):
    """A group's function that can make what all groups of an agent have in common."""

    def prepare(self, start: GroupStart) -> GroupFunction:
        """Return the function with that made.

        It is called in the zygote, so that forked groups share the memory: it must not connect, start a thread, import
        anything of the user's, nor depend on more of ``start`` than its settings and the URL of Redis.
        """
        ...


def fixed_share(config: PoolConfig) -> int | None:
    """Return how many workers every group of a pool has, None: each has its share of those the pool wants."""
    return config.kubernetes.workers_per_pod if config.kubernetes is not None and config.is_deployment else None


def share_of(workers: int, *, replicas: int) -> int:
    """Return how many workers each of a pool's groups has; rounded up, so that there are never fewer than asked for."""
    return math.ceil(workers / max(1, replicas))


def dump_settings(settings: Settings, *, node: str) -> dict[str, Any]:
    """Return settings as JSON values for ``GroupStart.settings``, with the name this node got; secrets are readable."""
    given = settings.model_dump(mode="json", exclude={"redis_url"})
    secrets = {
        name: value.get_secret_value() for name, value in settings if name in given and isinstance(value, SecretStr)
    }
    return {**given, **secrets, "node_name": node}
