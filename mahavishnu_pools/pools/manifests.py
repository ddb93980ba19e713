"""What would be applied to a cluster for a pool, for people who apply it themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mahavishnu_pools import errors
from mahavishnu_pools.kube.deployments import deployment_manifests
from mahavishnu_pools.kube.jobs import JobTask, job_manifest
from mahavishnu_pools.kube.objects import Manifest, kubernetes_of, namespace_manifest
from mahavishnu_pools.kube.pod_settings import pod_settings
from mahavishnu_pools.kube.rbac import rbac_manifests
from mahavishnu_pools.kube.rights import rights_of
from mahavishnu_pools.pools.factory import pool_type

if TYPE_CHECKING:
    from mahavishnu_pools.schemas.pool import PoolConfig
    from mahavishnu_pools.settings import Settings

#: Stands for a task, a pool's id and the program of its tasks where there is none yet.
_TASK, _POOL, _PROGRAM = "task_example", "pool_example", ("true",)

#: Seconds a task may take when it says nothing else.
_TIMEOUT = 300.0


def manifests_of(config: PoolConfig, settings: Settings, *, pool_id: str | None = None) -> list[Manifest]:
    """Return the objects of a deployment, or an example of the Jobs; ``pool_id`` None: it is not there yet.

    Raises:
        InvalidField: the pool is of another type, or cannot be as it is described.
    """
    _check(config)
    kubernetes = kubernetes_of(config)
    if config.is_deployment:
        return deployment_manifests(config, pod_settings(config, settings), pool_id=pool_id)
    grace = settings.kill_grace if kubernetes.grace_period is None else float(kubernetes.grace_period)
    task = JobTask(task_id=_TASK, number=0, argv=_PROGRAM, timeout=_TIMEOUT, grace=grace)
    namespaces = [namespace_manifest(kubernetes.namespace)] if kubernetes.create_namespace else []
    return [*namespaces, job_manifest(config, task, pool_id=pool_id or _POOL)]


def rbac_of(config: PoolConfig, *, account: str) -> list[Manifest]:
    """Return what gives a service account of the pool's namespace the rights to spawn and run the pool.

    Raises:
        InvalidField: the pool is of another type.
    """
    _check(config)
    kubernetes = kubernetes_of(config)
    rights = rights_of(kubernetes, auto_scale=config.auto_scale)
    return rbac_manifests(rights, namespace=kubernetes.namespace, account=account)


def _check(config: PoolConfig) -> None:
    if config.kubernetes is None:
        raise errors.InvalidField.of(
            "pool_type", f"is {config.pool_type!r}, and only kubernetes pools have manifests", "Name another pool."
        )
    pool_type(config.pool_type).check(config)
