"""The place of a run: a server behind a proxy, two nodes with real worker groups, and a web server."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

import psutil

from mahavishnu_pools import errors, names
from mahavishnu_pools.schemas.pool import PoolConfig
from mahavishnu_pools.store import pools
from mahavishnu_pools.store.client import SyncStore
from tests.chaos.line import Line
from tests.chaos.node import ROOT, Node
from tests.chaos.web import Web
from tests.fixtures.valkey import PrivateValkey
from tests.waiting import eventually

#: Short times, so that faults are noticed and mended within a run of a minute.
SETTINGS = {"LEASE_TTL": "2", "FROZEN_AFTER": "4", "NODE_HEARTBEAT": "0.5", "KILL_GRACE": "1", "DRAIN_TIMEOUT": "5"}

#: What tasks of type ``analyze`` look at.
SAMPLE = "import os\n"


class ChaosSite:
    """See the module. Everything it starts ends with ``end``."""

    def __init__(self, binary: Path, directory: Path, *, nodes: int = 1) -> None:
        self.directory = directory
        (directory / "valkey").mkdir()
        (directory / "sample.py").write_text(SAMPLE)
        self.server = PrivateValkey(binary, directory / "valkey")
        self.line = Line(self.server.port)
        self.url = self.server.url.replace(str(self.server.port), str(self.line.port))
        self.web = Web(self.diary)
        #: Bypasses the line, for the one who watches.
        self.direct = SyncStore(self.server.url, timeout=20)
        env = {f"MAHAVISHNU_{name}": value for name, value in SETTINGS.items()}
        env |= {"MAHAVISHNU_REDIS_URL": self.url, "MAHAVISHNU_ALLOWED_ROOTS": str(directory), "PYTHONPATH": str(ROOT)}
        env |= {
            "MAHAVISHNU_PYTHON_CALLABLES": "tests.chaos.payloads:*",
            "CHAOS": str(self.diary),
            "CHAOS_URL": self.url,
        }
        self.nodes = [Node(f"n{number + 1}", directory / f"n{number + 1}", env) for number in range(nodes)]

    @property
    def diary(self) -> Path:
        """Return the file that tasks write to."""
        return self.directory / "diary"

    def groups(self) -> list[psutil.Process]:
        """Return the worker groups that live."""
        known = {group.pid for pool in self.direct.run(pools.read_pools()).pools for group in pool.groups if group.pid}
        return [child for node in self.nodes for child in node.children() if child.pid in known]

    def controllers(self) -> list[psutil.Process]:
        """Return the agents' controllers."""
        return [controller for node in self.nodes for controller in node.controllers()]

    def programs(self) -> list[psutil.Process]:
        """Return what tasks are running as processes of their own."""
        found = []
        for group in self.groups():
            with contextlib.suppress(psutil.Error):
                found += group.children(recursive=True)
        return found

    def pool(self, name: str, *, workers: int, node: int = 0, celery_app: str | None = None) -> str:
        """Spawn a pool on a node and wait until it runs."""
        pool_id = names.new_pool_id()
        config = PoolConfig(
            name=name, min_workers=workers, max_workers=workers, worker_type="shell", celery_app=celery_app
        )
        assert self.direct.run(pools.create_pool(pool_id, config, prefer=self.nodes[node].name)) is None
        eventually(lambda: self.direct.run(pools.read_pools(pool_id)).one(pool_id).status == "running", within=30)
        return pool_id

    def wait_for_nodes(self) -> None:
        """Wait until all agents are known, so that pools go where they are meant to."""
        eventually(lambda: len(self.direct.run(pools.list_nodes())) == len(self.nodes), within=30)

    def answers(self) -> bool:
        """Tell whether the server answers."""
        try:
            return bool(self.direct.redis.ping())
        except Exception:  # the border to a server that is being tortured: whatever it says, it does not answer
            return False

    def log_tail(self) -> str:
        """Return the ends of the agents' logs."""
        return "\n".join(f"── {node.name} ──\n{node.log()[-6000:]}" for node in self.nodes)

    def end(self) -> None:
        """End the agents with everything they started, then the servers."""
        for node in self.nodes:
            node.end()
        self.web.close()
        self.line.close()
        self.direct.close()
        self.server.kill()


def until_answered(site: ChaosSite, *, within: float) -> float:
    """Wait until the server answers and return the time (epoch seconds).

    Raises:
        RedisUnavailable: it did not.
    """
    deadline = time.monotonic() + within
    while not site.answers():
        if time.monotonic() > deadline:
            raise errors.RedisUnavailable(f"The server did not answer within {within:g} s. Look at its log.")
        threading.Event().wait(0.05)
    return time.time()
