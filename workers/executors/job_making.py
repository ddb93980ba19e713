"""Makes the Job of a task in the cluster, however long that takes, or takes over the one that is there."""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import replace

from mahavishnu_pools import errors
from mahavishnu_pools.kube.board import Ticket
from mahavishnu_pools.kube.client import Cluster
from mahavishnu_pools.kube.jobs import SECRET_NAME, TASK_LABEL, JobTask, job_manifest, secret_manifest
from mahavishnu_pools.kube.naming import label_value
from mahavishnu_pools.kube.objects import POOL_ID, Manifest
from mahavishnu_pools.kube.pod_state import read_pod
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
        self._before: set[str] = set()

    async def make(self, ticket: Ticket) -> bool:
        """Have the Job, to which the ticket is bound then, and its Secret; returns True when they are there.

        Raises:
            ClusterRefused: for a reason that does not pass; a Job without its Secret may be there.
        """
        pause = FIRST_PAUSE
        while True:
            try:
                job = await self._job()
                if job is not None:
                    ticket.bind(job)
                    await self._secret(job, ticket)
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
        if self._before and await self._runs_before():
            return None
        # A Secret of this name belongs to this Job and to none that had the Job's name before, or will have it.
        task = replace(self._task, kept_in=f"{self._task.name}-{secrets.token_hex(4)}")
        made = await self._cluster.create(job_manifest(self._config, task, pool_id=self._pool_id))
        if made is not None:
            return made
        found = await self._cluster.get("Job", self._task.name)
        if found is None:
            return None
        meta = found["metadata"]
        if "deletionTimestamp" not in meta:
            if (meta.get("labels") or {}).get(POOL_ID) == label_value(self._pool_id):
                self.adopted = True
                return found
            # The task came from a pool that was given up: its Job there must have ended before it runs here.
            await self._cluster.delete("Job", self._task.name, uid=meta["uid"])
        self._before.add(meta["uid"])
        return None

    async def _runs_before(self) -> bool:
        """Tell whether a Pod of a Job that stood in the way still runs: Jobs are gone before their Pods are."""
        label = label_value(self._task.task_id)
        found = await self._cluster.find("Pod", labels=f"{TASK_LABEL}={label}")
        return any(
            owner.get("uid") in self._before
            for one in found["items"]
            if read_pod(one).end is None
            for owner in one["metadata"].get("ownerReferences") or []
        )

    async def _secret(self, job: Manifest, ticket: Ticket) -> None:
        started = ticket.pod is not None and read_pod(ticket.pod).started is not None
        if not self._task.needs_secret or started:
            return
        meta = job["metadata"]
        task = replace(self._task, kept_in=(meta.get("annotations") or {}).get(SECRET_NAME))
        await self._cluster.create(secret_manifest(self._config, task, pool_id=self._pool_id, job_uid=meta["uid"]))
