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
from mahavishnu_pools.kube.watching import Watch, slim

logger = logging.getLogger(__name__)


class Ticket:
    """One Job that somebody waits for. ``changed`` is set when something is new; who waits clears it.

    ``job`` and ``pod`` are the newest states seen, also of what is ``job_gone`` or ``pod_gone`` by now.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.changed = asyncio.Event()
        self.job: Manifest | None = None
        self.job_gone = False
        #: Whether the cluster was asked for the Pod, and for the Job, beside what is told of them.
        self.sought = self.asked = False
        self._own = False
        self._pods: dict[str, Manifest] = {}  # by the Job they belong to
        self._gone: set[str] = set()

    @property
    def pod(self) -> Manifest | None:
        """Return the Pod, not that of a former Job of the same name."""
        return self._pods.get(_uid(self.job)) if self.job is not None else None

    @property
    def pod_gone(self) -> bool:
        """Tell whether the Pod has been seen, and is gone."""
        return self.job is not None and _uid(self.job) in self._gone

    @property
    def bound(self) -> bool:
        """Tell whether it is known which Job is meant."""
        return self._own

    def bind(self, job: Manifest) -> None:
        """Wait for this very Job from now on: others of its name, before or after it, do not count."""
        if self.job is None or _uid(self.job) != _uid(job):
            self.job, self.job_gone = slim(job), False
        self._own = True
        self.changed.set()

    def note(self, kind: str, one: Manifest, there: bool) -> None:
        """Take what was seen."""
        if kind == "Job":
            other = self.job is None or _uid(self.job) != _uid(one)
            if other and (self._own or not there):
                return
            self.job, self.job_gone = one, not there
        else:
            self._note_pod(one, there)
        self.changed.set()

    def _note_pod(self, one: Manifest, there: bool) -> None:
        owner = _owner(one).get("uid", "")
        if there:
            self._pods[owner] = one
            self._gone.discard(owner)
        elif owner in self._pods and _uid(self._pods[owner]) == _uid(one):
            self._pods[owner] = one
            self._gone.add(owner)


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
        self._pods: dict[str, Manifest] = {}  # by the Job they belong to

    async def begin(self) -> None:
        """List all of them.

        Raises:
            ClusterUnavailable, ClusterRefused: that failed.
        """
        for one in self._watches:
            await one.begin()

    async def run(self) -> None:
        """Watch without end."""
        async with asyncio.TaskGroup() as group:
            for one in self._watches:
                group.create_task(one.run())

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
                if _owner(one).get("uid") == meta["uid"]:
                    ticket.note("Pod", slim(one), True)

    async def ask(self, ticket: Ticket) -> None:
        """Ask for the Job whose Pod is gone until there is an answer: the watch of Jobs may be behind that of Pods.

        Raises:
            ClusterRefused: that is not allowed.
        """
        while ticket.job is not None and not ticket.asked:
            try:
                found = await self._cluster.get("Job", ticket.name)
            except errors.ClusterUnavailable as exc:
                logger.debug("The Job %s is not known again yet: %s", ticket.name, exc)
                continue
            ticket.asked = True
            there = found is not None and _uid(found) == _uid(ticket.job)
            ticket.note("Job", slim(found) if found is not None and there else ticket.job, there)

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
        if name in self.jobs:
            made.note("Job", self.jobs[name], True)
        for pod in [one for one in self._pods.values() if _owner(one)["name"] == name]:
            made.note("Pod", pod, True)
        try:
            yield made
        finally:
            if self._tickets.get(name) is made:
                del self._tickets[name]

    def _seen(self, kind: str, one: Manifest, there: bool) -> None:
        owner = _owner(one)
        name = one["metadata"]["name"] if kind == "Job" else owner.get("name", "")
        known, key = (self.jobs, name) if kind == "Job" else (self._pods, owner.get("uid", ""))
        if there:
            known[key] = one
        elif key in known and _uid(known[key]) == _uid(one):
            del known[key]
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


def _uid(one: Manifest) -> str:
    return str(one["metadata"]["uid"])


def _owner(pod: Manifest) -> Manifest:
    """Return the reference to the Job a Pod belongs to; nothing without one."""
    owners = pod["metadata"].get("ownerReferences") or []
    return next((one for one in owners if one.get("kind") == "Job"), {})
