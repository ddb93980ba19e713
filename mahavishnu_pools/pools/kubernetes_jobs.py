"""Pools of type ``kubernetes`` in ``mode: job``: what their cluster must allow, and what is left of them there."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mahavishnu_pools import errors, worker_types
from mahavishnu_pools.kube.clearing import delete_jobs
from mahavishnu_pools.kube.client import Cluster
from mahavishnu_pools.kube.jobs import JobTask, job_manifest
from mahavishnu_pools.kube.objects import Manifest, kubernetes_of, namespace_manifest
from mahavishnu_pools.kube.refusals import no_rights
from mahavishnu_pools.kube.rights import Right, rights_of
from mahavishnu_pools.pools.interface import Trouble

if TYPE_CHECKING:
    from mahavishnu_pools.schemas.pool import PoolConfig
    from mahavishnu_pools.settings import Settings

logger = logging.getLogger(__name__)

#: Stands for a pool that is not there yet.
_NOBODY = "pool_of_a_trial"

#: With this right the cluster says of a Pod what it would say of those of Jobs, before there is one.
_TRY_PODS = Right("", "pods", ("create",))

#: Seconds the cluster may take for one call, with all its tries, when a pool is spawned.
PATIENCE = 10.0

#: Seconds the cluster may take to answer when it is only looked at, or cleared of what goes by itself later.
_LOOK_PATIENCE, _CLEAR_PATIENCE = 10.0, 10.0


def check_jobs(config: PoolConfig) -> None:
    """Refuse what a pool of this mode cannot have.

    Raises:
        InvalidField: the first such field.
    """
    if config.worker_type == worker_types.CONTAINER:
        raise errors.InvalidField.of(
            "worker_type", "container is for docker and podman", "Choose shell: each Job is a container anyway."
        )


class JobsOutside:
    """The Jobs of one pool in its cluster. They are made by its bridge; nothing is there before."""

    def __init__(self, config: PoolConfig, settings: Settings) -> None:
        self._settings = settings
        self._kubernetes = kubernetes_of(config)

    @property
    def start_timeout(self) -> float:
        """Return the seconds the bridge may take to come up."""
        return self._settings.spawn_timeout

    @property
    def outlives_workers(self) -> bool:
        """Return True: a bridge that lives would take its Jobs for lost."""
        return True

    async def check(self, config: PoolConfig) -> None:
        """Have the cluster say what it would refuse; nothing is made.

        Raises:
            ClusterRefused: a right or the namespace is missing, or Jobs like those of this pool are refused.
            ClusterUnavailable: it does not answer.
        """
        async with Cluster(self._kubernetes, patience=PATIENCE) as cluster:
            missing = await cluster.missing_rights(rights_of(self._kubernetes))
            if missing:
                raise no_rights(cluster.place, cluster.namespace, missing)
            if self._kubernetes.create_namespace and await cluster.get("Namespace", cluster.namespace) is None:
                return  # nothing can be tried in it yet
            trial = _trial(config)
            await cluster.dry_create(trial)
            if not await cluster.missing_rights([_TRY_PODS]):
                await cluster.dry_create(_pod(trial))

    async def make(self, pool_id: str, config: PoolConfig) -> None:
        """Have the namespace where that was asked for.

        Raises:
            ClusterRefused, ClusterUnavailable: see ``Cluster``.
        """
        if not self._kubernetes.create_namespace:
            return
        async with Cluster(self._kubernetes, patience=PATIENCE) as cluster:
            if await cluster.get("Namespace", cluster.namespace) is None:
                await cluster.create(namespace_manifest(cluster.namespace))

    async def scale(self, pool_id: str, config: PoolConfig, *, workers: int) -> None:
        """Leave the cluster as it is: workers are how many Jobs the bridge has there at once."""

    async def remove(self, pool_id: str, config: PoolConfig) -> None:
        """Delete all Jobs; a cluster that does not answer keeps them until their deadline, and no pool for ever."""
        try:
            async with Cluster(self._kubernetes, patience=_CLEAR_PATIENCE) as cluster:
                await delete_jobs(cluster, pool_id)
        except errors.MahavishnuError as exc:
            logger.warning("The Jobs of %s are left to their deadline: %s", config.name, exc)

    async def trouble(self, pool_id: str, config: PoolConfig) -> Trouble | None:
        """Return why the cluster cannot be used, if it cannot."""
        try:
            async with Cluster(self._kubernetes, patience=_LOOK_PATIENCE) as cluster:
                await cluster.find("Job", fields="metadata.name=none")
        except errors.MahavishnuError as exc:
            return Trouble(exc.message)
        return None


def _trial(config: PoolConfig) -> Manifest:
    task = JobTask(task_id="trial", number=0, argv=("true",), timeout=60.0, grace=5.0)
    return job_manifest(config, task, pool_id=_NOBODY)


def _pod(job: Manifest) -> Manifest:
    """Return the Pod that a Job would have."""
    template, meta = job["spec"]["template"], job["metadata"]
    about = {**template["metadata"], "name": meta["name"], "namespace": meta["namespace"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": template["spec"]}
