"""Every error this project raises: one root, four areas, one leaf per thing that can go wrong.

The message says what is wrong, where, and what to do about it. Data a program may need is in attributes and in
``details()``. Exit codes and MCP errors are derived from ``code`` in one place each.

All of them can be rebuilt from their message alone (``cls(message)``), because Celery stores an exception as type and
arguments.
"""

from __future__ import annotations

from mahavishnu_pools.errors.invalid import (
    AlreadyDecided,
    InvalidConfig,
    InvalidField,
    MissingProgram,
    PayloadTooLarge,
    PoolBusy,
    PoolConflict,
    PoolsDisabled,
    ScaleOutOfRange,
    ScalingNotSupported,
    ScheduleBusy,
    SecretInTheOpen,
    TaskExists,
    UnknownChoice,
)
from mahavishnu_pools.errors.missing import (
    BatchNotFound,
    DeadLetterNotFound,
    NoPoolAvailable,
    PoolGone,
    PoolNotFound,
    ScheduleNotFound,
    TaskNotFound,
)
from mahavishnu_pools.errors.outcomes import (
    TaskCancelled,
    TaskDead,
    TaskFailed,
    TaskTimeout,
)
from mahavishnu_pools.errors.repositories import (
    ChangesConflict,
    ChangesNotFound,
    GitFailed,
    RepositoryRefused,
)
from mahavishnu_pools.errors.root import (
    InvalidInput,
    MahavishnuError,
    NotFound,
    TaskOutcomeError,
    Unavailable,
)
from mahavishnu_pools.errors.unavailable import (
    ClusterRefused,
    ClusterUnavailable,
    ManagerClosed,
    NoAgent,
    PoolNotReady,
    RedisDiskFull,
    RedisFull,
    RedisUnavailable,
    RemoteRefused,
    RemoteUnavailable,
    StackNotRunning,
    StackPartFailed,
    WaitTimeout,
)

__all__ = [
    "AlreadyDecided",
    "BatchNotFound",
    "ChangesConflict",
    "ChangesNotFound",
    "ClusterRefused",
    "ClusterUnavailable",
    "DeadLetterNotFound",
    "GitFailed",
    "InvalidConfig",
    "InvalidField",
    "InvalidInput",
    "MahavishnuError",
    "ManagerClosed",
    "MissingProgram",
    "NoAgent",
    "NoPoolAvailable",
    "NotFound",
    "PayloadTooLarge",
    "PoolBusy",
    "PoolConflict",
    "PoolGone",
    "PoolNotFound",
    "PoolNotReady",
    "PoolsDisabled",
    "RedisDiskFull",
    "RedisFull",
    "RedisUnavailable",
    "RemoteRefused",
    "RemoteUnavailable",
    "RepositoryRefused",
    "ScaleOutOfRange",
    "ScalingNotSupported",
    "ScheduleBusy",
    "ScheduleNotFound",
    "SecretInTheOpen",
    "StackNotRunning",
    "StackPartFailed",
    "TaskCancelled",
    "TaskDead",
    "TaskExists",
    "TaskFailed",
    "TaskNotFound",
    "TaskOutcomeError",
    "TaskTimeout",
    "Unavailable",
    "UnknownChoice",
    "WaitTimeout",
]
