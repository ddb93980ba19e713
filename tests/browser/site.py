"""A server of pools as a process, and a store that the test fills: what its page shows is what the test wrote."""

from __future__ import annotations

import os
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from mahavishnu_pools.store import logs, pools
from tests.fixtures.valkey import free_port
from tests.fixtures.warm import MAHAVISHNU, Program
from tests.store.world import World
from tests.waiting import eventually


class Site:
    """The server on a namespace; with a ``token`` it asks for it. It keeps its port when it is started again."""

    def __init__(self, redis_url: str, namespace: str, log: Path, *, token: str = "") -> None:
        self.world = World(redis_url, namespace)
        self.url = f"http://127.0.0.1:{free_port()}"
        self._log = log
        self._env = {
            **os.environ,
            "MAHAVISHNU_REDIS_URL": redis_url,
            "MAHAVISHNU_NAMESPACE": namespace,
            **({"MAHAVISHNU_SERVER_TOKEN": token} if token else {}),
        }
        self.start()

    def start(self) -> None:
        port = self.url.rpartition(":")[2]
        command = [*MAHAVISHNU, "server", "--port", port]
        with self._log.open("ab") as out:
            self._process = Program(command, env=self._env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        eventually(self._answers, within=120)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(timeout=30)

    def end(self) -> None:
        self.kill()
        self.world.store.close()

    def node(self, name: str, **workers: int) -> None:
        """Have a node with groups of so many workers, by pool id."""
        about = pools.NodeInfo(name=name, pid=1, started=1.0, region="eu-west", tags=("linux",))
        groups = {
            pool: pools.GroupInfo(node=name, status="ready", workers=number, worker_type="shell", memory_mb=41.3)
            for pool, number in workers.items()
        }
        self.world.run(pools.node_beat(about, groups, ttl=600))

    def running(self, pool_id: str, **fields: object) -> str:
        """Return a task that runs."""
        task_id = self.world.to(pool_id, **fields)[0]
        self.world.claim(self.world.lease(pool_id), pool_id)
        return task_id

    def prints(self, task_id: str, text: str, *, stream: str = "stdout") -> None:
        self.world.run(logs.write_log(task_id, [(stream, text)], ttl=600))

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=10) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
