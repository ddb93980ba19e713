"""A pool that delegates to another instance: outcomes, output, lost replies, lost bridges, cancel, loops, trouble."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from mahavishnu_pools import errors, names
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.schemas.task import TaskResult
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store.delegated import read_delegated, read_instance_id
from mahavishnu_pools.store.leases import reap
from mahavishnu_pools.store.logs import read_log
from mahavishnu_pools.store.tasks import cancel
from tests.fixtures.groups import GroupProcess, Site, lines, site_on
from tests.fixtures.proxies import Proxy
from tests.fixtures.secured import Authority, TlsFront
from tests.fixtures.valkey import PrivateValkey
from tests.fixtures.warm import MAHAVISHNU, Program
from tests.waiting import eventually

TOKEN = "far-and-away-9f3a6c"


class FarServer:
    """The server of the far instance as a process, on a port that outlives it."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._tokens = site.directory / "tokens"
        self._tokens.write_text(TOKEN)
        self._tokens.chmod(0o600)
        self.port = 0
        self.start()

    def start(self) -> None:
        command = [*MAHAVISHNU, "server", "--port", str(self.port)]
        env = {**os.environ, "MAHAVISHNU_REDIS_URL": self._site.url, "MAHAVISHNU_DATA_DIR": str(self._site.directory)}
        self.process = Program(
            [*command, "--token-file", str(self._tokens)], stdout=subprocess.PIPE, text=True, env=env
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        self.port = int(self.url.removesuffix("/mcp").rpartition(":")[2])

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.communicate(timeout=30)


@contextlib.contextmanager
def far_site(valkey_binary: Path, directories: pytest.TempPathFactory) -> Iterator[Site]:
    """Give a far instance, with a pool ``work`` of shells."""
    with contextlib.ExitStack() as stack:
        valkey = PrivateValkey(valkey_binary, directories.mktemp("far-valkey"))
        stack.callback(valkey.stop)
        place = stack.enter_context(site_on(valkey, directories.mktemp("far")))
        place.group(place.pool("work", workers=4))
        yield place


@contextlib.contextmanager
def serving(far: Site) -> Iterator[FarServer]:
    """Give a far server that ends with the block."""
    made = FarServer(far)
    try:
        yield made
    finally:
        made.end()


@pytest.fixture(scope="module")
def far(valkey_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Return the far instance that the tests of the module share."""
    with far_site(valkey_binary, tmp_path_factory) as place:
        yield place


@pytest.fixture(scope="module")
def server(far: Site) -> Iterator[FarServer]:
    with serving(far) as made:
        yield made


@pytest.fixture(scope="module", autouse=True)
def secret(site: Site) -> None:
    file = site.directory / "secrets.env"
    file.write_text(f"FAR_TOKEN={TOKEN}\n")
    file.chmod(0o600)


def bridge(site: Site, endpoint: str, **extra: Any) -> GroupProcess:
    """Start a bridge, of a new pool, to an instance."""
    config = {"token_secret": "FAR_TOKEN", "remote_pool": "work", **extra}
    return site.group(site.pool(workers=3, pool_type="mahavishnu-remote", endpoint=endpoint, extra_config=config))


@pytest.fixture(scope="module")
def proxy(server: FarServer) -> Iterator[Proxy]:
    """Return what stands between the shared bridge and the far server."""
    made = Proxy(server.port)
    yield made
    made.close()


@pytest.fixture(scope="module")
def url(proxy: Proxy, authority: Authority) -> Iterator[str]:
    """Return the address of the far server behind TLS."""
    front = TlsFront(proxy.port, authority)
    yield f"https://127.0.0.1:{front.port}/mcp"
    front.close()


@pytest.fixture(scope="module")
def pool(site: Site, url: str, authority: Authority, secret: None) -> Iterator[str]:
    """Return the pool of a bridge that the tests of the module share."""
    group = bridge(site, url, ca_file=str(authority.ca))
    yield group.pool_id
    group.end()


def send(site: Site, pool_id: str, **spec: Any) -> str:
    app = site.apps[0] if site.apps else site.client()
    return str(app.send_task(names.RUN_TASK, args=[spec], queue=names.queue_of(pool_id)).id)


def printed(site: Site, task_id: str, stream: str = "stdout") -> str:
    return "".join(piece.text for piece in site.run(read_log(task_id)) if piece.stream == stream)


def far_task(far: Site, result: TaskResult) -> TaskResult:
    remote = result.metadata["remote"]
    assert isinstance(remote, dict)
    return far.task(str(remote["task_id"]))


def lose_bridge(site: Site, group: GroupProcess) -> None:
    """Kill a bridge and hand its tasks back, as its agent does."""
    group.process.send_signal(signal.SIGKILL)
    group.process.wait(30)
    while site.run(reap(group.lease, cause="node", result_ttl=60)).left:
        continue


def test_a_task_runs_there_and_its_outcome_and_output_come_back(site: Site, far: Site, url: str, pool: str) -> None:
    prompt = send(site, pool, prompt="echo $WORD; echo oops >&2; exit 3", env={"WORD": "ünï"}, metadata={"a": 1})
    command = send(site, pool, task_type="shell", payload={"command": ["pwd"]}, cwd=str(far.directory), priority=8)
    strange = send(site, pool, task_type="no_such_type")
    secret = send(site, pool, prompt="x", secrets=["FAR_TOKEN"])

    failed, done = site.outcome(prompt, within=60), site.outcome(command, within=60)
    assert (failed.status, failed.exit_code, failed.output, failed.attempts) == ("failed", 3, "ünï\n", 1)
    assert (printed(site, prompt), printed(site, prompt, "stderr")) == ("ünï\n", "oops\n")
    assert (done.status, done.output) == ("completed", f"{far.directory}\n")
    there = far_task(far, done)
    assert (there.status, there.pool_id) == ("completed", far.groups[0].pool_id)
    assert done.metadata["remote"] == {
        "url": url,
        "instance": far.run(read_instance_id()),
        "task_id": there.task_id,
        "pool_id": there.pool_id,
        "status": "completed",
        "attempts": 1,
    }
    assert f"Delegated to {url} as task {there.task_id}." in printed(site, command, "system")
    assert "no_such_type" in str(site.outcome(strange, within=60).error)
    assert "cannot be handed to another instance" in str(site.outcome(secret, within=60).error)
    assert TOKEN not in site.redis.hget(f"mhv:pool:{pool}", "config")
    eventually(lambda: not site.run(read_delegated(pool)))


def test_a_task_whose_acceptance_got_lost_is_not_run_again(site: Site, proxy: Proxy, pool: str, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    proxy.lose(b'"pool_submit"', times=2)

    done = site.outcome(send(site, pool, prompt=f"echo one >> {marks}; echo out"), within=60)
    proxy.lose(b'"pool_follow"', times=2)
    failed = site.outcome(send(site, pool, prompt=f"echo two >> {marks}; echo out; exit 3"), within=60)

    assert proxy.lost == 2
    assert (done.status, done.output, done.attempts) == ("completed", "out\n", 1)
    assert (failed.status, failed.exit_code, printed(site, failed.task_id)) == ("failed", 3, "out\n")
    assert lines(marks) == ["one", "two"]


@pytest.mark.slow
def test_after_the_loss_of_a_bridge_the_next_one_waits_for_the_same_task_and_doubles_no_output(
    site: Site, server: FarServer, tmp_path: Path
) -> None:
    group, marks = bridge(site, server.url), tmp_path / "marks"
    loop = f"echo begun >> {marks}; echo first; until [ -e {tmp_path}/go ]; do sleep 0.05; done; echo last"
    task = send(site, group.pool_id, prompt=loop)
    eventually(lambda: printed(site, task), until=lambda text: text == "first\n", within=60)

    lose_bridge(site, group)
    again = site.group(group.pool_id)
    eventually(lambda: site.task(task).attempts == 2, within=60)
    (tmp_path / "go").touch()

    done = site.outcome(task, within=60)
    assert (done.status, done.output) == ("completed", "first\nlast\n")
    assert printed(site, task) == "first\nlast\n"
    assert lines(marks) == ["begun"]
    again.end()


def sleeper(site: Site, pool_id: str, file: Path) -> str:
    """Send a task that sleeps for long, and wait until its process id is in the file."""
    task = send(site, pool_id, prompt=f"echo $$ > {file}; exec sleep 600")
    eventually(lambda: _runs(file), within=60)
    return task


def test_a_cancel_ends_what_runs_there(site: Site, far: Site, pool: str, tmp_path: Path) -> None:
    task = sleeper(site, pool, tmp_path / "pid")
    site.run(cancel(task, reason="Nobody wants it.", result_ttl=60))

    ended = site.outcome(task, within=60)
    assert ended.status == "cancelled"
    assert "remote_may_still_run" not in ended.metadata
    assert far_task(far, ended).status == "cancelled"
    assert not _runs(tmp_path / "pid")


@pytest.mark.slow
def test_what_was_cancelled_while_no_bridge_was_there_is_ended_by_the_next_one(
    site: Site, server: FarServer, tmp_path: Path
) -> None:
    group = bridge(site, server.url)
    left = sleeper(site, group.pool_id, tmp_path / "pid")
    eventually(lambda: left in site.run(read_delegated(group.pool_id)))
    lose_bridge(site, group)
    site.run(cancel(left, reason="Nobody wants it.", result_ttl=60))
    again = site.group(group.pool_id)
    eventually(lambda: not _runs(tmp_path / "pid"), within=60)
    eventually(lambda: not site.run(read_delegated(group.pool_id)), within=60)
    again.end()


def test_a_task_that_would_come_back_or_go_too_far_is_refused(site: Site, far: Site, pool: str) -> None:
    there, here = far.run(read_instance_id()), site.run(read_instance_id())
    back = send(site, pool, prompt="true", metadata={"federation": {"chain": [there]}}, max_retries=5)
    deep = send(site, pool, prompt="true", metadata={"federation": {"chain": ["i_1", "i_2", "i_3"]}})

    looped, far_gone = site.outcome(back, within=60), site.outcome(deep, within=60)
    assert (looped.status, looped.attempts) == ("failed", 1)
    assert f"{there} → {here} → {there}" in str(looped.error)
    assert f"3 times already, no more is allowed: i_1 → i_2 → i_3 → {here} → {there}" in str(far_gone.error)


@pytest.mark.slow
def test_a_pool_is_degraded_while_its_instance_is_away_and_its_tasks_wait(
    site: Site, far: Site, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    with serving(far) as server:
        group = bridge(site, server.url)
        begun = send(
            site, group.pool_id, prompt=f"echo one >> {marks}; until [ -e {tmp_path}/go ]; do sleep 0.05; done"
        )
        eventually(lambda: lines(marks), within=60)
        server.end(signal.SIGKILL)
        degraded = eventually(
            lambda: site.read_pool(group.pool_id), until=lambda one: one.status == "degraded", within=60
        )
        assert "cannot be reached" in str(degraded.reason)
        waiting = send(site, group.pool_id, prompt=f"echo two >> {marks}")
        (tmp_path / "go").touch()
        server.start()

        assert {site.outcome(one, within=60).status.value for one in (begun, waiting)} == {"completed"}
        eventually(lambda: site.read_pool(group.pool_id).status == "running", within=60)
        assert sorted(lines(marks)) == ["one", "two"]
        group.end()


@pytest.mark.slow
def test_a_task_that_is_lost_there_is_sent_again(
    site: Site, valkey_binary: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    with far_site(valkey_binary, tmp_path_factory) as far, serving(far) as server:
        group = bridge(site, server.url)
        wait = f"until [ -e {tmp_path}/go ]; do sleep 0.1; done"
        task = send(site, group.pool_id, prompt=f"echo begun >> {marks}; echo out; {wait}")
        gone = send(site, group.pool_id, prompt=f"echo begun >> {marks}; sleep 600", on_worker_lost="fail")
        eventually(lambda: len(lines(marks)) == 2, within=60)
        far.groups[0].end()
        far.redis.flushall()
        far.group(far.pool("work"))
        (tmp_path / "go").touch()

        done, lost = site.outcome(task, within=90), site.outcome(gone, within=90)
        assert (done.status, done.output) == ("completed", "out\n")
        assert (lost.status, lost.attempts, lost.metadata["remote_lost"]) == ("failed", 1, True)
        assert "Whether it ran cannot be known" in str(lost.error)
        assert lines(marks) == ["begun"] * 3
        group.end()


@pytest.mark.slow
async def test_closing_a_pool_ends_what_it_has_there(
    server: FarServer, far: Site, valkey_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN_OF_FAR", TOKEN)
    pid = tmp_path / "pid"
    async with PoolManager(settings=Settings(data_dir=tmp_path)) as manager:
        extra: dict[str, Any] = {"token_env": "TOKEN_OF_FAR", "remote_tags": ["no such tag"]}
        with pytest.raises(errors.PoolNotReady, match="a pool with the tag no such tag"):
            await manager.spawn_pool("mahavishnu-remote", name="far", endpoint=server.url, extra_config=extra)
        extra = {"token_env": "TOKEN_OF_FAR", "remote_pool": "work"}
        pool_id = await manager.spawn_pool("mahavishnu-remote", name="far", endpoint=server.url, extra_config=extra)
        await manager.submit({"prompt": f"echo $$ > {pid}; exec sleep 600"}, pool=pool_id)
        await asyncio.to_thread(eventually, lambda: _runs(pid), within=60)
        await manager.close_pool(pool_id)
        await asyncio.to_thread(eventually, lambda: not _runs(pid), within=60)


def _runs(file: Path) -> bool:
    return file.exists() and bool(file.read_text().strip()) and psutil.pid_exists(int(file.read_text()))
