"""The place of a run: a server behind a proxy, a node agent that is started again when it dies, real worker groups."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

from mahavishnu_pools import errors, names
from mahavishnu_pools.schemas.pool import PoolConfig
from mahavishnu_pools.store import pools
from mahavishnu_pools.store.client import SyncStore
from tests.fixtures.valkey import PrivateValkey
from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]

#: Short times, so that faults are noticed and mended within a run of a minute.
SETTINGS = {"LEASE_TTL": "2", "FROZEN_AFTER": "4", "NODE_HEARTBEAT": "0.5", "KILL_GRACE": "1", "DRAIN_TIMEOUT": "5"}


class Line:
    """A proxy between everybody and the server that can be cut, or swallow everything while connections stay open."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open = threading.Event()
        self._open.set()
        self._sockets: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End every connection; new ones are taken."""
        for one in list(self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def block(self) -> None:
        """Pass nothing on until ``unblock``."""
        self._open.clear()

    def unblock(self) -> None:
        """Pass on what has waited."""
        self._open.set()

    def close(self) -> None:
        """End it with all connections."""
        self.unblock()
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    client.close()
                    continue
                self._sockets |= {client, server}
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 18):
                self._open.wait()
                sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
            self._sockets.discard(one)


class ChaosSite:
    """See the module. Everything it starts ends with ``end``."""

    def __init__(self, binary: Path, directory: Path) -> None:
        self.directory = directory
        (directory / "valkey").mkdir()
        self.server = PrivateValkey(binary, directory / "valkey")
        self.line = Line(self.server.port)
        self.url = self.server.url.replace(str(self.server.port), str(self.line.port))
        #: Bypasses the line, for the one who watches.
        self.direct = SyncStore(self.server.url, timeout=20)
        self.agent: subprocess.Popen[bytes] | None = None
        self.start_agent()

    @property
    def diary(self) -> Path:
        """Return the file that tasks write to."""
        return self.directory / "diary"

    def start_agent(self) -> None:
        """Start the agent, again when it is gone."""
        env = {f"MAHAVISHNU_{name}": value for name, value in SETTINGS.items()}
        env |= {"MAHAVISHNU_REDIS_URL": self.url, "MAHAVISHNU_DATA_DIR": str(self.directory), "CHAOS": str(self.diary)}
        env |= {"MAHAVISHNU_NODE_NAME": "n1", "MAHAVISHNU_PYTHON_CALLABLES": "tests.chaos.payloads:*"}
        env |= {"MAHAVISHNU_ALLOWED_ROOTS": str(self.directory), "PYTHONPATH": str(ROOT)}
        with (self.directory / "agent.log").open("ab") as log:
            self.agent = subprocess.Popen(
                [sys.executable, "-m", "workers.agent"], cwd=ROOT, env={**os.environ, **env}, stdout=log, stderr=log
            )

    def agent_pid(self) -> int:
        """Return the pid of the agent's first process."""
        assert self.agent is not None
        return self.agent.pid

    def children(self) -> list[psutil.Process]:
        """Return the agent's own children: the controller and the worker groups."""
        with contextlib.suppress(psutil.Error):
            return psutil.Process(self.agent_pid()).children()
        return []

    def groups(self) -> list[psutil.Process]:
        """Return the worker groups that live."""
        known = {one.pid for one in self.direct.run(pools.read_pools()).pools for one in one.groups if one.pid}
        return [child for child in self.children() if child.pid in known]

    def controllers(self) -> list[psutil.Process]:
        """Return the agent's controller, as a list."""
        known = {one.pid for one in self.groups()}
        started = [child for child in self.children() if child.pid not in known]
        log = (self.directory / "agent.log").read_text(errors="replace")
        return [child for child in started if f"Controller {child.pid} was started" in log]

    def programs(self) -> list[psutil.Process]:
        """Return what tasks are running as processes of their own."""
        return [program for group in self.groups() for program in group.children(recursive=True)]

    def pool(self, name: str, *, workers: int) -> str:
        """Spawn a pool and wait until it runs."""
        pool_id = names.new_pool_id()
        config = PoolConfig(name=name, min_workers=workers, max_workers=workers, worker_type="shell")
        assert self.direct.run(pools.create_pool(pool_id, config)) is None
        eventually(lambda: self.direct.run(pools.read_pools(pool_id)).one(pool_id).status == "running", within=20)
        return pool_id

    def answers(self) -> bool:
        """Tell whether the server answers."""
        try:
            return bool(self.direct.redis.ping())
        except Exception:  # the border to a server that is being tortured: whatever it says, it does not answer
            return False

    def log_tail(self) -> str:
        """Return the end of the agent's log."""
        return (self.directory / "agent.log").read_text(errors="replace")[-6000:]

    def end(self) -> None:
        """End the agent with everything it started, then the server."""
        with contextlib.suppress(psutil.Error):
            agent = psutil.Process(self.agent_pid())
            for process in [*agent.children(recursive=True), agent]:
                with contextlib.suppress(psutil.Error):
                    process.send_signal(signal.SIGCONT)
                    process.kill()
        if self.agent is not None:
            self.agent.wait(timeout=10)
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
