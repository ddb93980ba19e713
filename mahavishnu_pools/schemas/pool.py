"""Values about pools: configuration, status, what is seen of one."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    PlainValidator,
    ValidationError,
    field_validator,
    model_validator,
)

from mahavishnu_pools import names
from mahavishnu_pools.schemas.base import MappingValue, Value, with_near_names
from mahavishnu_pools.schemas.limits import Budget, Rate
from mahavishnu_pools.schemas.worktree import Isolation
from mahavishnu_pools.wording import short

if TYPE_CHECKING:
    from mahavishnu_pools.schemas.kubernetes import KubernetesConfig


class PoolStatus(StrEnum):
    """Where a pool is in its life."""

    PENDING = "pending"
    INITIALIZING = "initializing"
    RUNNING = "running"
    DEGRADED = "degraded"
    PAUSED = "paused"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


#: A pool in one of these states takes new tasks from the router (degraded ones only when nothing better is there).
ACTIVE_STATUSES = frozenset({PoolStatus.RUNNING, PoolStatus.DEGRADED})

#: A pool in one of these states has ended; its id is never used again.
ENDED_STATUSES = frozenset({PoolStatus.STOPPED, PoolStatus.FAILED})


class HealthStatus(StrEnum):
    """A summary of health for people and probes."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


class PoolSelector(StrEnum):
    """How one pool is chosen among several: the routing strategies."""

    ROUND_ROBIN = "round_robin"
    LEAST_LOADED = "least_loaded"
    RANDOM = "random"
    AFFINITY = "affinity"


class DistributionStrategy(StrEnum):
    """How the parts of a task are spread over several pools."""

    ROUND_ROBIN = "round_robin"
    BROADCAST = "broadcast"
    RANDOM = "random"
    LEAST_LOADED = "least_loaded"
    MAP_REDUCE = "map_reduce"


#: The pool type whose Pods run in a Kubernetes cluster.
KUBERNETES = "kubernetes"

#: The pool type that delegates to a Session-Buddy server.
SESSION_BUDDY = "session-buddy"

#: The pool type that delegates to another instance of this project.
REMOTE = "mahavishnu-remote"

#: Pool types whose number of workers nobody chooses, and that number.
FIXED_WORKERS: Mapping[str, int] = MappingProxyType({SESSION_BUDDY: 3})


def _kubernetes_config(given: Any) -> KubernetesConfig | None:
    # Making its validators takes a tenth of the time of `pools list`, where nobody has such a pool.
    if given is None:
        return None
    from mahavishnu_pools.schemas.kubernetes import KubernetesConfig

    return KubernetesConfig.model_validate(given)


if TYPE_CHECKING:
    MaybeKubernetes = KubernetesConfig | None
else:
    MaybeKubernetes = Annotated[Any, PlainValidator(_kubernetes_config)]


def _field_names(pool_type: object) -> list[str]:
    names = list(PoolConfig.model_fields)
    if pool_type == KUBERNETES:
        from mahavishnu_pools.schemas.kubernetes import KubernetesConfig

        names += KubernetesConfig.model_fields
    return names


class PoolConfig(Value):
    """How a pool is made.

    ``worker_type=None`` takes the first AI program that is installed where the workers start (qwen, claude, codex,
    gemini). ``nodes`` lists node names or node tags the pool may run on; None is any node, the spawning one first.
    ``replicas`` is the number of nodes that run a worker group of the pool at once. ``imports`` and ``celery_app`` name
    modules of the user that the worker group loads. ``isolation`` says how its tasks are kept from disturbing each
    other in a directory (None: ``lock``, for prompts to AI programs). ``allowed_roots`` limits ``cwd`` (None: as the
    node does).
    ``rate_limit`` is how many tasks it may start (``30/m``), ``budget`` what its AI tasks may spend before it pauses.
    ``endpoint`` is the server a pool delegates to (None: the one in the settings). ``kubernetes`` says where the Pods
    of a pool of that type run; its fields may also be given beside the others, or in ``extra_config``.
    """

    name: str
    pool_type: str = "mahavishnu"
    min_workers: int = Field(default=1, ge=1, le=1000)
    max_workers: int = Field(default=10, ge=1, le=1000)
    worker_type: str | None = None
    auto_scale: bool = True
    memory_enabled: bool = True
    tags: tuple[str, ...] = ()
    region: str = "default"
    nodes: tuple[str, ...] | None = None
    replicas: int = Field(default=1, ge=1, le=100)
    failover: bool = False
    allowed_roots: tuple[str, ...] | None = None
    isolation: Isolation | None = None
    imports: tuple[str, ...] = ()
    celery_app: str | None = None
    endpoint: str | None = None
    rate_limit: Rate | None = None
    budget: Budget | None = None
    kubernetes: MaybeKubernetes = None
    extra_config: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _unknown_fields_have_near_ones(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(given)
        except ValidationError as exc:
            kind = given.get("pool_type") if isinstance(given, dict) else None
            raise with_near_names(exc, _field_names(kind), what="a pool") from None

    @model_validator(mode="before")
    @classmethod
    def _kubernetes_may_be_given_flat(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("pool_type") != KUBERNETES:
            return given
        from mahavishnu_pools.schemas.kubernetes import gathered

        return gathered(given, others=frozenset(cls.model_fields))

    @model_validator(mode="before")
    @classmethod
    def _some_types_have_so_many_workers(cls, given: Any) -> Any:
        kind = given.get("pool_type") if isinstance(given, dict) else None
        fixed = FIXED_WORKERS.get(kind) if isinstance(kind, str) else None
        return given if fixed is None else {"min_workers": fixed, "max_workers": fixed, **given}

    @field_validator("name")
    @classmethod
    def _name_is_usable(cls, value: str) -> str:
        if not names.is_pool_name(value):
            raise ValueError(
                f"{short(value)} cannot be a pool's name: use 1 to 63 letters, digits, '.', '_' or '-', "
                "beginning with a letter or digit, and not with 'pool_'"
            )
        return value

    @model_validator(mode="after")
    def _limits_are_ordered(self) -> Self:
        if self.min_workers > self.max_workers:
            raise ValueError(
                f"min_workers ({self.min_workers}) is greater than max_workers ({self.max_workers}): "
                "lower min_workers or raise max_workers"
            )
        return self

    @model_validator(mode="after")
    def _kubernetes_is_for_its_type(self) -> Self:
        if self.kubernetes is not None and self.pool_type != KUBERNETES:
            raise ValueError(
                f"kubernetes is for pools of type {KUBERNETES}; this one is of type {short(self.pool_type)}"
            )
        return self

    @property
    def runs_jobs(self) -> bool:
        """Tell whether each task of the pool is a Job in a cluster, so that its workers need no programs here."""
        return self.pool_type == KUBERNETES and not self.is_deployment

    @property
    def runs_elsewhere(self) -> bool:
        """Tell whether the pool's workers hand tasks over to something that does not end with them."""
        return self.runs_jobs or self.delegates

    @property
    def delegates(self) -> bool:
        """Tell whether another server runs the pool's tasks, with programs of its own."""
        return self.pool_type in (SESSION_BUDDY, REMOTE)

    @property
    def cluster_place(self) -> ClusterPlace | None:
        """Return where its Pods are; None for pools of other types."""
        if self.kubernetes is None:
            return None
        given = self.kubernetes
        return ClusterPlace(
            mode=given.mode, namespace=given.namespace, context=given.context, container_image=given.image
        )

    @property
    def is_deployment(self) -> bool:
        """Tell whether the pool's workers run in Pods of a Deployment, each with an agent of its own."""
        return self.kubernetes is not None and self.kubernetes.mode == "deployment"


class ClusterPlace(MappingValue):
    """Where a pool has its Pods, in which way and image. ``context`` None: the cluster it runs in."""

    mode: Literal["job", "deployment"]
    namespace: str
    context: str | None = None
    container_image: str


class PoolInfo(MappingValue):
    """What is seen of a pool: its configuration in short, its state and its figures.

    ``workers`` is the number of workers wanted now, ``queued`` and ``running`` count tasks, ``avg_duration`` is in
    seconds over finished tasks (None before the first), ``memory_mb`` is the proportional set size of its worker groups
    (None when no agent reports it), ``success_rate`` is between 0 and 1. ``reason`` says why a status is not
    ``running``. ``kubernetes`` is None for pools of other types.
    """

    pool_id: str
    name: str
    pool_type: str
    status: PoolStatus
    reason: str | None = None
    workers: int
    min_workers: int
    max_workers: int
    region: str = "default"
    worker_type: str | None = None
    tags: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    replicas: int = 1
    allowed_roots: tuple[str, ...] | None = None
    isolation: Isolation | None = None
    imports: tuple[str, ...] = ()
    celery_app: str | None = None
    kubernetes: ClusterPlace | None = None
    queued: int = 0
    running: int = 0
    tasks_completed: int = 0
    tasks_failed: int = 0
    avg_duration: float | None = None
    success_rate: float | None = None
    memory_mb: float | None = None
    cpu_percent: float | None = None
    created_at: float

    @property
    def load(self) -> float:
        """Return (running + queued) ÷ workers."""
        return (self.running + self.queued) / max(1, self.workers)


class PoolMetrics(MappingValue):
    """Figures of one pool, as ``pool.get_metrics()`` returns them; ``active_workers`` run a task at this moment."""

    pool_id: str
    status: PoolStatus
    active_workers: int
    total_workers: int
    queued: int
    tasks_completed: int
    tasks_failed: int
    avg_duration: float | None
    success_rate: float | None
    memory_mb: float | None
    cpu_percent: float | None
