"""Pool type ``kubernetes``: a Job for each task, or a Deployment of worker groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mahavishnu_pools import errors
from mahavishnu_pools.pools.interface import Outside, PoolType
from mahavishnu_pools.pools.mahavishnu import MahavishnuPool
from mahavishnu_pools.schemas.pool import KUBERNETES as NAME
from mahavishnu_pools.schemas.pool import PoolConfig

if TYPE_CHECKING:
    from mahavishnu_pools.settings import Settings


class KubernetesPool(MahavishnuPool):
    """A handle of a pool of this type."""


def _check(config: PoolConfig) -> None:
    if config.endpoint is not None:
        raise errors.InvalidField.of(
            "endpoint", "is nothing that a kubernetes pool uses", "Name the cluster in context or kubeconfig."
        )
    if config.is_deployment:
        from mahavishnu_pools.pools.kubernetes_deployment import check_deployment

        check_deployment(config)
    else:
        from mahavishnu_pools.pools.kubernetes_jobs import check_jobs

        check_jobs(config)


def _outside(config: PoolConfig, settings: Settings) -> Outside | None:
    # Late: most programs that know this type never meet a cluster.
    if config.is_deployment:
        from mahavishnu_pools.pools.kubernetes_deployment import DeploymentOutside

        return DeploymentOutside(config, settings)
    from mahavishnu_pools.pools.kubernetes_jobs import JobsOutside

    return JobsOutside(config, settings)


KUBERNETES = PoolType(NAME, check=_check, handle=KubernetesPool, outside=_outside)
