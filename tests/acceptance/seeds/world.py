"""What the examples of the documents run in: a private stack, servers, stand-ins for an AI program and a cluster."""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from mahavishnu_pools import PoolManager, Settings
from mahavishnu_pools.embedded.private import PrivateStack
from tests.fakes.kube_api import KubeApi
from tests.fakes.kube_deployments import Deployments

#: What ``qwen -o stream-json`` prints, with what it was asked in the answer.
_STAND_IN = """#!/bin/sh
prompt=$(tr '\\n"\\\\' '   ')
printf '{"type":"system","subtype":"init","session_id":"s1","model":"stand-in"}\\n'
printf '{"type":"result","subtype":"success","is_error":false,"duration_ms":5,"num_turns":1,'
printf '"result":"Done: %s",' "$prompt"
printf '"usage":{"input_tokens":3,"output_tokens":4},"session_id":"s1"}\\n'
"""

_ECOSYSTEM = """repositories:
  - path: {repo}
pools:
  - name: found-here
    type: mahavishnu
    min_workers: 1
"""

_SETTINGS = """pools_enabled: true
default_pool_type: mahavishnu
pool_routing_strategy: least_loaded
"""

#: Its Pods run every kind of task; a Job has no worker of ours in the cluster, so it could not analyse files.
_CLUSTER_POOL = {
    "mode": "deployment",
    "container_image": "example.org/mahavishnu:1",
    "redis_url_secret": "redis/url",
    "worker_type": "terminal-qwen",
    "allowed_roots": ["/"],
    "start_timeout": 60.0,
}

#: The pool that examples take for granted.
POOL = "local-pool"


class World:
    """See the module; ``directory`` is where examples run."""

    def __init__(self, base: Path, redis_url: str, *, session_buddy_port: int, akosha_port: int) -> None:
        self.directory = base / "here"
        self.redis_url = redis_url
        self.session_buddy_port = session_buddy_port
        self.akosha_port = akosha_port
        self._manager = PoolManager(redis_url=redis_url)

    async def close(self) -> None:
        await self._manager.close()

    async def reset(self, *, without: set[str], cluster: bool = False) -> tuple[str, str]:
        """Close all pools, make the usual one unless it is among ``without``; return its id and a finished task's.

        ``cluster`` makes one of type kubernetes too.
        """
        await self._manager.close_all(scope="all")
        name = "another-pool" if POOL in without else POOL
        pool_id = await self._manager.spawn_pool("mahavishnu", name=name, min_workers=2, max_workers=20)
        if cluster:
            await self._manager.spawn_pool("kubernetes", name="cluster-pool", **_CLUSTER_POOL)
        result = await self._manager.execute_on_pool(pool_id, {"prompt": "Write code"})
        return pool_id, result.task_id

    async def clear(self) -> None:
        await self._manager.close_all(scope="all")


@contextlib.asynccontextmanager
async def world(base: Path) -> AsyncIterator[World]:
    """Start everything; the environment of this process leads to it until the end."""
    _files(base)
    os.environ["PATH"] = os.pathsep.join([str(base / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    os.environ.pop("MAHAVISHNU_REDIS_URL", None)
    os.environ |= {"COLUMNS": "160", "HOME": str(base / "home"), "MAHAVISHNU_DATA_DIR": str(base / "data")}
    async with contextlib.AsyncExitStack() as ends:
        ports = [await ends.enter_async_context(_server(name, base)) for name in ("session-buddy", "akosha")]
        os.environ |= {
            "MAHAVISHNU_SESSION_BUDDY_POOL_URL": f"http://localhost:{ports[0]}/mcp",
            "MAHAVISHNU_AKOSHA_URL": f"http://localhost:{ports[1]}/mcp",
        }
        cluster = KubeApi("mahavishnu")
        ends.callback(cluster.stop)
        os.environ["KUBECONFIG"] = str(cluster.kubeconfig(base))
        settings = Settings(kill_grace=0.5, drain_timeout=1.0, allowed_roots=(Path("/"),))
        stack = await ends.enter_async_context(PrivateStack(settings))
        os.environ["MAHAVISHNU_DATA_DIR"] = str(stack.data_dir)
        ends.enter_context(_machines(cluster, stack.redis_url))
        os.chdir(base / "here")
        made = World(base, stack.redis_url, session_buddy_port=ports[0], akosha_port=ports[1])
        ends.push_async_callback(made.close)
        yield made


@contextlib.contextmanager
def _machines(cluster: KubeApi, redis_url: str) -> Iterator[None]:
    """Have the stand-in run Pods of Deployments, which find Redis by a Secret."""
    cluster.machine.path = os.environ["PATH"]
    url = base64.b64encode(redis_url.encode()).decode()
    secret = {"kind": "Secret", "metadata": {"name": "redis"}, "data": {"url": url}}
    cluster._do(cluster.machine.store.add("secrets", "mahavishnu", secret))
    deployments = Deployments(cluster)
    deployments.start()
    try:
        yield
    finally:
        deployments.stop()


def _files(base: Path) -> None:
    for name in ("bin", "home", "here/settings", "here/repo"):
        (base / name).mkdir(parents=True)
    program = base / "bin" / "qwen"
    program.write_text(_STAND_IN)
    program.chmod(0o755)
    here = base / "here"
    for name in ("test", "a", "b", "c"):
        (here / f"{name}.py").write_text("import os\n")
    (here / "settings" / "mahavishnu.yaml").write_text(_SETTINGS)
    (here / "ecosystem.yaml").write_text(_ECOSYSTEM.format(repo=here / "repo"))


@contextlib.asynccontextmanager
async def _server(name: str, base: Path) -> AsyncIterator[int]:
    """Run one of the embedded servers on a free port and yield the port."""
    data = base / f"data-{name}"
    with (base / f"{name}.log").open("wb") as log, _started(name, data, log) as process:
        assert process.stdout is not None
        url = process.stdout.readline().decode()
        if not url.strip():
            raise RuntimeError(f"mahavishnu {name} did not start; see {log.name}")
        try:
            yield int(urlsplit(url.split()[-1]).port or 0)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def _started(name: str, data: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "mahavishnu_pools.cli.main", name, "--port", "0", "--data-dir", str(data)]
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
