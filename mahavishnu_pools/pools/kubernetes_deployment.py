"""Pools of type ``kubernetes`` in ``mode: deployment``: worker groups in Pods, made and scaled by the cluster."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from mahavishnu_pools import errors
from mahavishnu_pools.kube.client import Cluster
from mahavishnu_pools.kube.deployment_status import DeploymentStatus, deployment_status
from mahavishnu_pools.kube.deployments import deployment_manifests, pod_of
from mahavishnu_pools.kube.objects import POOL_ID, Manifest, base_name, kubernetes_of, selector
from mahavishnu_pools.kube.pod_settings import pod_settings
from mahavishnu_pools.kube.pool_objects import pool_objects
from mahavishnu_pools.kube.refusals import no_rights
from mahavishnu_pools.kube.rights import Right, rights_of
from mahavishnu_pools.kube.scaling import autoscaler, pods_for, scales
from mahavishnu_pools.pools.interface import Trouble

if TYPE_CHECKING:
    from mahavishnu_pools.schemas.pool import PoolConfig
    from mahavishnu_pools.settings import Settings

logger = logging.getLogger(__name__)

#: Kinds of objects a new number of Pods stands in; they are left alone when the rest is applied again.
_SCALED_BY = frozenset({"HorizontalPodAutoscaler", "ScaledObject"})

#: With this right the cluster says of a Pod what it would say of those of the Deployment, before there is one.
_TRY_PODS = Right("", "pods", ("create",))

#: Seconds the cluster may take for one call, with all its tries, and when it is only looked at.
PATIENCE, LOOK_PATIENCE = 30.0, 10.0


def check_deployment(config: PoolConfig) -> None:
    """Refuse what a pool of this mode cannot have.

    Raises:
        InvalidField: the first such field.
    """
    each = kubernetes_of(config).workers_per_pod
    for field, value in (("min_workers", config.min_workers), ("max_workers", config.max_workers)):
        if value % each:
            raise errors.InvalidField.of(
                field, f"{value} is no multiple of the {each} workers of each Pod", f"Choose a multiple of {each}."
            )
    if config.replicas != 1:
        raise errors.InvalidField.of(
            "replicas",
            f"is {config.replicas}, but min_workers and max_workers say how many Pods there are",
            "Leave it out.",
        )
    if config.nodes is not None:
        raise errors.InvalidField.of(
            "nodes", "are those of agents, and each Pod is a node of its own", "Use node_selector."
        )


class DeploymentOutside:
    """The objects of one pool in its cluster."""

    def __init__(self, config: PoolConfig, settings: Settings) -> None:
        self._settings = settings
        self._kubernetes = kubernetes_of(config)

    @property
    def start_timeout(self) -> float:
        """Return the seconds workers may take to come up: nodes may have to be added, and images pulled."""
        return self._kubernetes.start_timeout

    @property
    def outlives_workers(self) -> bool:
        """Return False: its Pods are the workers."""
        return False

    async def check(self, config: PoolConfig) -> None:
        """Have the cluster say what it would refuse; nothing is made.

        Raises:
            InvalidField: Pods cannot reach Redis, or the objects' name is taken.
            ClusterRefused: a right or the namespace is missing, or a manifest is refused.
            ClusterUnavailable: it does not answer.
        """
        manifests = deployment_manifests(config, pod_settings(config, self._settings))
        async with Cluster(self._kubernetes, patience=PATIENCE) as cluster:
            missing = await cluster.missing_rights(rights_of(self._kubernetes, auto_scale=config.auto_scale))
            if missing:
                raise no_rights(cluster.place, cluster.namespace, missing)
            if self._kubernetes.create_namespace and await cluster.get("Namespace", self._kubernetes.namespace) is None:
                # Nothing can be tried in it yet.
                await cluster.apply(manifests[0], dry_run=True)
                return
            await self._check_name(cluster, config)
            may_try_pods = not await cluster.missing_rights([_TRY_PODS])
            for manifest in manifests:
                await cluster.apply(manifest, dry_run=True)
                if manifest["kind"] == "Deployment" and may_try_pods:
                    await cluster.dry_create(pod_of(manifest))

    async def _check_name(self, cluster: Cluster, config: PoolConfig) -> None:
        existing = await cluster.get("Deployment", base_name(config))
        owner = _owner(existing) if existing else None
        if owner is not None:
            name = base_name(config)
            raise errors.InvalidField.of(
                "name",
                f"namespace {cluster.namespace} has a Deployment {name} already, of pool {owner}",
                f"Choose another name or namespace. If that pool is gone: kubectl -n {cluster.namespace} delete "
                f"deployment {name}",
            )

    async def make(self, pool_id: str, config: PoolConfig) -> None:
        """Apply all objects; how many Pods there are stays when the pool's Deployment is there already.

        Raises:
            ClusterRefused, ClusterUnavailable: see ``Cluster``.
        """
        manifests = deployment_manifests(config, pod_settings(config, self._settings), pool_id=pool_id)
        async with Cluster(self._kubernetes, patience=PATIENCE) as cluster:
            await self._namespace_first(cluster, manifests)
            existing = await cluster.get("Deployment", base_name(config))
            scaled = _owner(existing) == pool_id if existing else False
            for manifest in manifests:
                if manifest["kind"] == "Namespace" or (scaled and manifest["kind"] in _SCALED_BY):
                    continue
                if scaled and existing is not None and manifest["kind"] == "Deployment" and not scales(config):
                    manifest["spec"]["replicas"] = existing["spec"].get("replicas", 1)
                await cluster.apply(manifest)

    async def _namespace_first(self, cluster: Cluster, manifests: list[Manifest]) -> None:
        wanted = manifests[0]
        if wanted["kind"] == "Namespace" and await cluster.get("Namespace", self._kubernetes.namespace) is None:
            await cluster.create(wanted)

    async def scale(self, pool_id: str, config: PoolConfig, *, workers: int) -> None:
        """Have at least so many workers where the cluster scales by load, exactly so many where it does not.

        Raises:
            InvalidField: the Pods' workers do not add up to that number.
            ClusterRefused, ClusterUnavailable: see ``Cluster``.
        """
        each = self._kubernetes.workers_per_pod
        if workers % each:
            raise errors.InvalidField.of(
                "target", f"{workers} is no multiple of the {each} workers of each Pod", f"Choose a multiple of {each}."
            )
        async with Cluster(self._kubernetes, patience=PATIENCE) as cluster:
            if scales(config):
                await cluster.apply(autoscaler(config, pool_id=pool_id, least=workers))
            else:
                change = {"spec": {"replicas": pods_for(config, workers)}}
                await cluster.patch("Deployment", base_name(config), change)

    async def remove(self, pool_id: str, config: PoolConfig) -> None:
        """Delete all objects; Pods end in order, and their tasks are handed back.

        Raises:
            ClusterRefused, ClusterUnavailable: see ``Cluster``; some of it may be left, and it can be tried again.
        """
        async with Cluster(self._kubernetes, patience=PATIENCE) as cluster:
            existing = await cluster.get("Deployment", base_name(config))
            if existing is not None and _owner(existing) not in (pool_id, None):
                return
            for one in pool_objects(config, existing):
                try:
                    await cluster.delete(one.kind, one.name)
                except errors.ClusterRefused as exc:
                    if one.certain:
                        raise
                    # It may not even be looked for, so whoever granted the rights did not expect it there.
                    logger.info("Whether there is a %s %s is not known: %s", one.kind, one.name, exc.message)

    async def trouble(self, pool_id: str, config: PoolConfig) -> Trouble | None:
        """Return what keeps Pods from working, else what the autoscaler complains of."""
        try:
            found = await status_of(config)
        except errors.MahavishnuError as exc:
            return Trouble(exc.message)
        if found is None:
            return Trouble(f"Its Deployment {base_name(config)} is gone; spawn the pool again to have it back.", True)
        missing = f"{found.ready} of {found.wanted} Pods are ready." if found.ready < found.wanted else None
        text = " ".join(part for part in (missing, found.problem, found.autoscaler) if part)
        return Trouble(text, lasting=found.lasting) if text else None


async def status_of(config: PoolConfig) -> DeploymentStatus | None:
    """Ask the cluster how a pool's Deployment is; None: there is none.

    Raises:
        ClusterRefused, ClusterUnavailable: see ``Cluster``.
    """
    name, labels = base_name(config), ",".join(f"{key}={value}" for key, value in selector(config).items())
    async with Cluster(kubernetes_of(config), patience=LOOK_PATIENCE) as cluster:
        deployment = await cluster.get("Deployment", name)
        if deployment is None:
            return None
        kind = autoscaler(config, pool_id=None, least=1)["kind"] if scales(config) else None
        pods, scaler = await asyncio.gather(
            cluster.find("Pod", labels=labels), cluster.get(kind, name) if kind else _nothing()
        )
    return deployment_status(deployment, pods.get("items") or [], scaler)


async def _nothing() -> None:
    return None


def _owner(deployment: Manifest) -> str | None:
    """Return the pool a Deployment belongs to, None: it was applied by hand for a pool that was to come."""
    owner = (deployment["metadata"].get("annotations") or {}).get(POOL_ID)
    return None if owner is None else str(owner)
