"""Makes the Job of a task in the cluster, however long that takes, or takes over the one that is there."""

from __future__ import annotations

import asyncio
import logging

from mahavishnu_pools import errors
from mahavishnu_pools.kube.board import Ticket
from mahavishnu_pools.kube.client import Cluster
from mahavishnu_pools.kube.jobs import JobTask, job_manifest, secret_manifest
from mahavishnu_pools.kube.naming import label_value
from mahavishnu_pools.kube.objects import POOL_ID, Manifest
from mahavishnu_pools.schemas.pool import PoolConfig

logger = logging.getLogger(__name__)

#: Seconds between two tries to make what the cluster has no room for at the moment, at first and at most.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 15.0


class JobMaker:
    """Makes one Job. ``adopted``: it was there; ``said`` is what the cluster said when it last refused."""

    def __init__(self, cluster: Cluster, config: PoolConfig, task: JobTask, *, pool_id: str) -> None:
        self._cluster, self._config, self._task, self._pool_id = cluster, config, task, pool_id
        self.adopted = False
        self.said = ""

    async def make(self, ticket: Ticket) -> bool:
        """Have the Job and its Secret; returns True when they are there.

        Raises:
            ClusterRefused: for a reason that does not pass.
        """
        pause = FIRST_PAUSE
        while True:
            try:
                job = await self._job()
                if job is not None:
                    if ticket.job is None:
                        ticket.note("Job", job, True)
                    await self._secret(job)
                    return True
            except errors.ClusterRefused as exc:
                if not exc.details().get("quota"):
                    raise
                self.said = exc.message
            except errors.ClusterUnavailable as exc:
                self.said = exc.message
            logger.info("The Job %s is not made yet", self._task.name, extra={"action": "make_job"})
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 2)

    async def _job(self) -> Manifest | None:
        """Return the Job, made now or by a bridge before; None while one stands in the way."""
        manifest = job_manifest(self._config, self._task, pool_id=self._pool_id)
        made = await self._cluster.create(manifest)
        if made is not None:
            return made
        found = await self._cluster.get("Job", self._task.name)
        if found is None or "deletionTimestamp" in found["metadata"]:
            return None
        if (found["metadata"].get("labels") or {}).get(POOL_ID) == label_value(self._pool_id):
            self.adopted = True
            return found
        # The task came from a pool that was given up: its Job there must have ended before it runs here.
        await self._cluster.delete("Job", self._task.name, uid=found["metadata"]["uid"])
        return None

    async def _secret(self, job: Manifest) -> None:
        if self._task.needs_secret:
            uid = job["metadata"]["uid"]
            await self._cluster.create(secret_manifest(self._config, self._task, pool_id=self._pool_id, job_uid=uid))
