"""A stand-in for a worker group: claims and finishes without Celery, so that agents are tested by themselves.

What a task does is its Celery message's header ``do``: nothing (it completes at once), ``hold`` (it runs until the
group ends), ``accompany`` (the same, but it completes when it runs alone), ``crash`` (the group ends with an error) or
``spawn`` (it starts a program in a session of its own, with the group's marks, and holds).
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import threading
from collections.abc import Callable
from typing import Any

import psutil

from mahavishnu_pools import names
from mahavishnu_pools.store import leases
from mahavishnu_pools.store.client import SyncStore
from workers.agent.start import GroupStart

#: Seconds between two looks for work.
PAUSE = 0.02


def run_group(start: GroupStart, *, tick: Callable[[], None], news: Callable[[str, dict[str, Any]], None]) -> int:
    """Run until TERM; in the end hand back what is held and close the lease, as every group does."""
    if start.config["extra_config"].get("broken"):
        raise RuntimeError("this pool cannot start")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    settings = start.load_settings()
    group = FakeGroup(start, ttl=settings.lease_ttl)
    group.open()
    news("ready", {"workers": start.share})
    while not stop.wait(PAUSE) and os.getppid() == start.agent_pid:
        tick()
        group.step()
        if start.alone and group.idle:
            break
    group.hand_back()
    news("leaving", {})
    group.close()
    return 0


class FakeGroup:
    """One lease and what is held under it."""

    def __init__(self, start: GroupStart, *, ttl: float) -> None:
        self._start = start
        self._ttl = ttl
        self._store = SyncStore(start.redis_url, namespace=start.load_settings().namespace)
        self._held: list[leases.Held] = []
        self.idle = False

    def open(self) -> None:
        started = psutil.Process().create_time()
        about = {"pool_id": self._start.pool_id, "node": self._start.node, "pid": os.getpid(), "started": started}
        assert self._store.run(leases.open_lease(self._start.lease, ttl=self._ttl, **about))  # type: ignore[arg-type]

    def step(self) -> None:
        free = self._start.share - len(self._held)
        start = self._start
        worker = names.worker_node(start.pool_id, start.node, alone=start.alone)
        by = leases.Claimant(start.lease, start.pool_id, worker, alone=start.alone)
        claimed = self._store.run(leases.claim(by, most=free, request=secrets.token_hex(8), result_ttl=60))
        self.idle = claimed is not None and not claimed.claims and not self._held
        for claim in claimed.claims if claimed else ():
            held = leases.Held(self._start.lease, claim.number, claim.task_id, self._start.pool_id)
            self._work(held, do=json.loads(claim.message)["headers"].get("do"))

    def hand_back(self) -> None:
        for held in self._held:
            self._store.run(leases.hand_back(held))

    def close(self) -> None:
        while self._store.run(leases.reap(self._start.lease, cause="node", result_ttl=60)).left:
            continue

    def _work(self, held: leases.Held, *, do: str | None) -> None:
        if do == "crash":
            os._exit(3)
        if do == "accompany" and self._start.alone:
            do = None
        if do == "spawn":
            # A program that left the group's session and outlives it; nobody waits for it.
            subprocess.Popen(["sleep", "300"], start_new_session=True, env={**os.environ, "MARKED": held.task_id})
        if do:
            self._held.append(held)
            return
        outcome = json.dumps({"status": "completed"})
        self._store.run(leases.finish(held, status="completed", outcome=outcome, meta="", result_ttl=60))
