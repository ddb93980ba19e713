"""A delegated pool on this project's own Session-Buddy server: output, ends, cancel, time-out, restarts."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mahavishnu_pools import errors, names
from mahavishnu_pools.mcp_client import McpClient
from mahavishnu_pools.store.tasks import cancel
from tests.fixtures.groups import Site
from tests.fixtures.proxies import Proxy
from tests.fixtures.valkey import free_port
from tests.fixtures.warm import MAHAVISHNU, Program
from tests.waiting import eventually


class Server:
    """The server as a process, on a port and a directory that outlive it."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        self.start()

    def start(self) -> None:
        command = [*MAHAVISHNU, "session-buddy", "--port", str(self.port)]
        env = {**os.environ, "MAHAVISHNU_KILL_GRACE": "1"}
        self.process = Program(
            [*command, "--data-dir", str(self._data_dir)],
            stdout=subprocess.PIPE,
            text=True,
            env=env,
            cwd=self._data_dir,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == self.url

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.communicate(timeout=30)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    yield made
    made.end()


@pytest.fixture
def pool(site: Site, server: Server) -> Iterator[str]:
    pool_id = site.pool(workers=3, pool_type="session-buddy", max_workers=3, endpoint=server.url)
    group = site.group(pool_id)
    yield pool_id
    group.end()


def shell(site: Site, pool_id: str, command: str, **fields: object) -> str:
    """Send a command as the prompt of a worker of type shell."""
    app = site.apps[0] if site.apps else site.client()
    spec = {"prompt": command, "worker_type": "shell", **fields}
    return str(app.send_task(names.RUN_TASK, args=[spec], queue=names.queue_of(pool_id)).id)


def test_output_exit_code_and_directory_come_back(site: Site, pool: str, server: Server, tmp_path: Path) -> None:
    done = site.outcome(shell(site, pool, "pwd; echo $WORD", cwd=str(tmp_path), env={"WORD": "hello"}))
    failed = site.outcome(shell(site, pool, "echo half; exit 3"))

    assert (done.status, done.output) == ("completed", f"{tmp_path}\nhello\n")
    assert done.metadata["delegated_to"] == server.url
    assert done.metadata["remote_output_available"] is True
    assert (failed.status, failed.exit_code, failed.output) == ("failed", 3, "half\n")


def test_a_prompt_over_its_timeout_is_ended_there_and_has_timed_out(site: Site, pool: str, tmp_path: Path) -> None:
    found = site.outcome(shell(site, pool, f"echo $$ > {tmp_path}/pid; exec sleep 60", timeout=3))

    assert found.status == "timeout"
    eventually(lambda: not _runs(tmp_path / "pid"))


def test_a_cancel_ends_what_runs_on_the_server(site: Site, pool: str, tmp_path: Path) -> None:
    task = shell(site, pool, f"echo $$ > {tmp_path}/pid; exec sleep 60")
    eventually(lambda: _runs(tmp_path / "pid"))

    site.run(cancel(task, reason="Nobody wants it.", result_ttl=60))

    found = site.outcome(task)
    assert found.status == "cancelled"
    assert "remote_may_still_run" not in found.metadata
    eventually(lambda: not _runs(tmp_path / "pid"))


def test_prompts_survive_a_kill_of_the_server(site: Site, pool: str, server: Server, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    tasks = [shell(site, pool, f"echo {number} >> {marks}; sleep 0.1") for number in range(12)]
    eventually(marks.exists)
    server.end(signal.SIGKILL)
    server.start()

    found = [site.outcome(one, within=30) for one in tasks]

    assert {one.status for one in found} == {"completed"}
    assert set(marks.read_text().split()) == {str(number) for number in range(12)}


def test_a_prompt_whose_answer_was_lost_is_not_run_again(
    site: Site, server: Server, make_proxy: type[Proxy], tmp_path: Path
) -> None:
    proxy, marks = make_proxy(server.port), tmp_path / "marks"
    endpoint = f"http://127.0.0.1:{proxy.port}/mcp"
    pool_id = site.pool(workers=3, pool_type="session-buddy", max_workers=3, endpoint=endpoint)
    group = site.group(pool_id)
    proxy.lose(b"execute_on_pool", times=2)

    done = site.outcome(shell(site, pool_id, f"echo one >> {marks}; echo out"), within=60)
    failed = site.outcome(shell(site, pool_id, f"echo two >> {marks}; exit 3"), within=60)

    assert proxy.lost == 2
    assert (done.status, done.output, done.attempts, done.metadata["repeated"]) == ("completed", "out\n", 1, True)
    assert (failed.status, failed.exit_code, failed.attempts) == ("failed", 3, 1)
    assert marks.read_text().split() == ["one", "two"]
    group.end()


async def test_a_prompt_whose_connection_breaks_goes_on_and_who_sends_it_again_joins_it(
    server: Server, make_proxy: type[Proxy], tmp_path: Path
) -> None:
    proxy, marks = make_proxy(server.port), tmp_path / "marks"
    prompt = f"echo begun >> {marks}; until [ -e {tmp_path}/go ]; do sleep 0.05; done; echo out"
    asked = {"pool_id": "p", "prompt": prompt, "context": {"task_id": "t", "attempt": 1}}
    async with McpClient(f"http://127.0.0.1:{proxy.port}/mcp") as broken, McpClient(server.url) as client:
        await client.call("create_pool", {"pool_id": "p", "worker_type": "shell"})
        first = asyncio.create_task(broken.call("execute_on_pool", asked))  # type: ignore[arg-type]
        await asyncio.to_thread(eventually, marks.exists)
        proxy.close()
        await asyncio.wait([first])
        again = asyncio.create_task(client.call("execute_on_pool", asked))  # type: ignore[arg-type]
        (tmp_path / "go").touch()
        found: Any = (await again).value

    assert isinstance(first.exception(), errors.RemoteUnavailable)
    assert (found["status"], found["output"], found["metadata"]) == ("completed", "out\n", {"repeated": True})
    assert marks.read_text().split() == ["begun"]


def _runs(file: Path) -> bool:
    pid = file.read_text().strip() if file.exists() else ""
    return bool(pid) and Path("/proc", pid).exists()
