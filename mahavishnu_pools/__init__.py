"""Run AI-agent, command and container tasks on pools of workers. The names below are loaded at their first use."""

from __future__ import annotations

import importlib

# Without ``typing``, which takes its time: the command line catches Ctrl-C only when this has been read.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mahavishnu_pools import errors as errors
    from mahavishnu_pools.bus.local import MessageBus as MessageBus
    from mahavishnu_pools.integrations.event_collector import EventCollector as EventCollector
    from mahavishnu_pools.manager import PoolManager as PoolManager
    from mahavishnu_pools.memory.aggregator import MemoryAggregator as MemoryAggregator
    from mahavishnu_pools.pools.interface import Outside as Outside
    from mahavishnu_pools.pools.interface import Pool as Pool
    from mahavishnu_pools.pools.interface import PoolType as PoolType
    from mahavishnu_pools.pools.interface import Trouble as Trouble
    from mahavishnu_pools.pools.mahavishnu import MahavishnuPool as MahavishnuPool
    from mahavishnu_pools.routing.distributing import Distribution as Distribution
    from mahavishnu_pools.routing.eligibility import PoolFilter as PoolFilter
    from mahavishnu_pools.schemas.contest import ContestKind as ContestKind
    from mahavishnu_pools.schemas.contest import ContestResult as ContestResult
    from mahavishnu_pools.schemas.event import Event as Event
    from mahavishnu_pools.schemas.message import Message as Message
    from mahavishnu_pools.schemas.message import MessageType as MessageType
    from mahavishnu_pools.schemas.pool import DistributionStrategy as DistributionStrategy
    from mahavishnu_pools.schemas.pool import HealthStatus as HealthStatus
    from mahavishnu_pools.schemas.pool import PoolConfig as PoolConfig
    from mahavishnu_pools.schemas.pool import PoolInfo as PoolInfo
    from mahavishnu_pools.schemas.pool import PoolMetrics as PoolMetrics
    from mahavishnu_pools.schemas.pool import PoolSelector as PoolSelector
    from mahavishnu_pools.schemas.pool import PoolStatus as PoolStatus
    from mahavishnu_pools.schemas.routing import Routing as Routing
    from mahavishnu_pools.schemas.routing import RoutingCandidate as RoutingCandidate
    from mahavishnu_pools.schemas.routing import RoutingRequest as RoutingRequest
    from mahavishnu_pools.schemas.task import DistributionResult as DistributionResult
    from mahavishnu_pools.schemas.task import TaskResult as TaskResult
    from mahavishnu_pools.schemas.task import TaskSpec as TaskSpec
    from mahavishnu_pools.schemas.task import TaskStatus as TaskStatus
    from mahavishnu_pools.settings import Settings as Settings
    from mahavishnu_pools.settings import load_settings as load_settings
    from mahavishnu_pools.store.tasks import Submitted as Submitted
    from mahavishnu_pools.task_types import TaskType as TaskType
    from mahavishnu_pools.task_types import reducer as reducer
    from mahavishnu_pools.task_types import task_type as task_type

#: Public name: the module it lives in.
_HOMES = {
    "PoolManager": "manager",
    "MemoryAggregator": "memory.aggregator",
    "MessageBus": "bus.local",
    "EventCollector": "integrations.event_collector",
    "Event": "schemas.event",
    "Message": "schemas.message",
    "MessageType": "schemas.message",
    "Outside": "pools.interface",
    "Pool": "pools.interface",
    "PoolType": "pools.interface",
    "Trouble": "pools.interface",
    "MahavishnuPool": "pools.mahavishnu",
    "Distribution": "routing.distributing",
    "PoolFilter": "routing.eligibility",
    "ContestKind": "schemas.contest",
    "ContestResult": "schemas.contest",
    "DistributionStrategy": "schemas.pool",
    "HealthStatus": "schemas.pool",
    "PoolConfig": "schemas.pool",
    "PoolInfo": "schemas.pool",
    "PoolMetrics": "schemas.pool",
    "PoolSelector": "schemas.pool",
    "PoolStatus": "schemas.pool",
    "Routing": "schemas.routing",
    "RoutingCandidate": "schemas.routing",
    "RoutingRequest": "schemas.routing",
    "DistributionResult": "schemas.task",
    "TaskResult": "schemas.task",
    "TaskSpec": "schemas.task",
    "TaskStatus": "schemas.task",
    "Settings": "settings",
    "load_settings": "settings",
    "Submitted": "store.tasks",
    "TaskType": "task_types",
    "reducer": "task_types",
    "task_type": "task_types",
}

__all__ = ["errors", *_HOMES]  # noqa: PLE0604 - the names of the table


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
