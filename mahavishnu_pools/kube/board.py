"""What is known of all Jobs of a pool and their Pods, kept up to date by one watch of each kind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from mahavishnu_pools import errors
from mahavishnu_pools.kube.client import Cluster
from mahavishnu_pools.kube.jobs import TASK_LABEL, pool_selector
from mahavishnu_pools.kube.objects import Manifest
from mahavishnu_pools.kube.watching import Watch

logger = logging.getLogger(__name__)


class Ticket:
    """One Job that somebody waits for. ``changed`` is set when something is new; who waits clears it.

    ``job`` and ``pod`` are the newest states seen, also of what is ``job_gone`` or ``pod_gone`` by now.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.changed = asyncio.Event()
        self.job: Manifest | None = None
        self._pod: Manifest | None = None
        self.job_gone = self.pod_gone = False
        #: Whether the cluster was asked for the Pod, beside what is told of it.
        self.sought = False

    @property
    def pod(self) -> Manifest | None:
        """Return the Pod, unless it belongs to a former Job of the same name."""
        if self._pod is None or self.job is None:
            return None
        owners = self._pod["metadata"].get("ownerReferences") or []
        return self._pod if any(one.get("uid") == self.job["metadata"]["uid"] for one in owners) else None

    def note(self, kind: str, one: Manifest, there: bool) -> None:
        """Take what was seen; what belongs to a former Job of the same name does not count."""
        if kind == "Job":
            known = self.job
            if not there and (known is None or known["metadata"]["uid"] != one["metadata"]["uid"]):
                return
            self.job, self.job_gone = one, not there
        else:
            if not there and (self._pod is None or self._pod["metadata"]["uid"] != one["metadata"]["uid"]):
                return
            self._pod, self.pod_gone = one, not there
        self.changed.set()


class Board:
    """The Jobs and Pods of one pool in one cluster."""

    def __init__(self, cluster: Cluster, pool_id: str) -> None:
        labels = pool_selector(pool_id)
        self._cluster = cluster
        self._watches = (
            Watch(
                cluster,
                "Job",
                labels=labels,
                seen=lambda one, there: self._seen("Job", one, there),
                listed=self._listed,
            ),
            Watch(cluster, "Pod", labels=labels, seen=lambda one, there: self._seen("Pod", one, there)),
        )
        self._tickets: dict[str, Ticket] = {}
        self.jobs: dict[str, Manifest] = {}
        self._pods: dict[str, Manifest] = {}

    async def begin(self) -> None:
        """List all of them.

        Raises:
            ClusterUnavailable, ClusterRefused: that failed.
        """
        for one in self._watches:
            await one.begin()

    async def run(self) -> None:
        """Watch without end."""
        await asyncio.gather(*(one.run() for one in self._watches))

    async def seek(self, ticket: Ticket) -> None:
        """Ask for the Pod of a Job until there is an answer: the watch of Pods may be behind that of Jobs.

        Raises:
            ClusterRefused: that is not allowed.
        """
        while ticket.job is not None and not ticket.sought:
            meta = ticket.job["metadata"]
            try:
                found = await self._cluster.find("Pod", labels=f"{TASK_LABEL}={meta['labels'][TASK_LABEL]}")
            except errors.ClusterUnavailable as exc:
                logger.debug("The Pod of %s is not known yet: %s", ticket.name, exc)
                continue
            ticket.sought = True
            for one in found.get("items") or []:
                owners = one["metadata"].get("ownerReferences") or []
                if any(owner.get("uid") == meta["uid"] for owner in owners):
                    ticket.note("Pod", one, True)

    @property
    def trouble(self) -> str | None:
        """Return what is wrong with watching, None: all is well."""
        return next((one.trouble for one in self._watches if one.trouble), None)

    @property
    def waited_for(self) -> frozenset[str]:
        """Return the names of the Jobs that somebody waits for."""
        return frozenset(self._tickets)

    @contextmanager
    def ticket(self, name: str) -> Iterator[Ticket]:
        """Give a ticket for the Job of this name, which need not be there yet."""
        made = self._tickets[name] = Ticket(name)
        for kind, known in (("Job", self.jobs), ("Pod", self._pods)):
            if name in known:
                made.note(kind, known[name], True)
        try:
            yield made
        finally:
            if self._tickets.get(name) is made:
                del self._tickets[name]

    def _seen(self, kind: str, one: Manifest, there: bool) -> None:
        name = one["metadata"]["name"] if kind == "Job" else _owner(one)
        known = self.jobs if kind == "Job" else self._pods
        if there:
            known[name] = one
        elif name in known and known[name]["metadata"]["uid"] == one["metadata"]["uid"]:
            del known[name]
        ticket = self._tickets.get(name)
        if ticket is not None:
            ticket.note(kind, one, there)

    def _listed(self, version: str) -> None:
        """Notice Jobs that came and went while nobody watched: their makers know them, the list does not."""
        for ticket in self._tickets.values():
            job = ticket.job
            if job is not None and ticket.name not in self.jobs and _older(job["metadata"], version):
                ticket.note("Job", job, False)


def _older(meta: Manifest, version: str) -> bool:
    """Tell whether an object is from before a version of the cluster."""
    own = str(meta.get("resourceVersion") or "")
    return own.isdigit() and version.isdigit() and int(own) <= int(version)


def _owner(pod: Manifest) -> str:
    owners = pod["metadata"].get("ownerReferences") or []
    return next((str(one["name"]) for one in owners if one.get("kind") == "Job"), "")
