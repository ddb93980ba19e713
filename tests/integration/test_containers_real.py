"""The real docker and podman, each where it is installed and works, with an image of nothing but a static busybox."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from mahavishnu_pools.schemas.task import Outcome
from mahavishnu_pools.worker_types import BUILT_IN
from tests.fakes.run_context import RecordingLog, make_context
from tests.waiting import eventually
from workers.agent.containers import ContainerSweeper
from workers.executors.container_engine import Engine, choose_engine, last_word
from workers.executors.interface import RunContext
from workers.executors.registry import execute

pytestmark = [pytest.mark.slow, pytest.mark.containers_real]

IMAGE = "localhost/mahavishnu-busybox:1"

#: Runs a container of its own that does not end, until it is killed itself.
WORKER = """
import json, sys
from tests.fakes.run_context import make_context
from workers.executors.registry import execute
context = json.loads(sys.argv[1])
execute(make_context(context["spec"], env=context["env"]))
"""


class RealEngine:
    """One engine that works, and what tests ask of it."""

    def __init__(self, program: str, env: dict[str, str]) -> None:
        self.env = env
        kind = BUILT_IN["container"].model_copy(update={"program": program})
        self.services = {"worker_types": {**BUILT_IN, "container": kind}, "container_image": IMAGE}
        self.engine: Engine = choose_engine(kind, env)

    def context(self, payload: dict[str, Any], **spec: Any) -> RunContext:
        fields = {"task_type": "container", "payload": {"image": IMAGE, "pull": "never", **payload}, **spec}
        return make_context(fields, env=self.env, services=self.services)

    def run(self, script: str, **payload: Any) -> Outcome:
        return execute(self.context({"command": script, "shell": True, **payload}, timeout=60.0))

    def left(self, context: RunContext) -> list[str]:
        return self.engine.find({"mahavishnu.task_id": context.task_id})


def busybox() -> bytes:
    """Return an archive of the files of an image: busybox and the names of its programs."""
    program = shutil.which("busybox")
    if program is None or b"static" not in subprocess.run(["file", "-L", program], capture_output=True).stdout:
        pytest.skip("no static busybox is installed (Debian: apt-get install busybox-static)")
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name in ("tmp", "etc", "proc", "sys", "dev"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
            archive.addfile(folder)
        archive.add(os.path.realpath(program), "bin/busybox")
        for name in ("sh", "sleep", "cat", "ls", "touch", "id", "env", "true", "seq", "pwd"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    return made.getvalue()


@pytest.fixture(scope="module", params=["docker", "podman"])
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealEngine]:
    """Return an engine that runs containers here; podman has a store of its own for the test."""
    program = shutil.which(request.param)
    if program is None:
        pytest.skip(f"{request.param} is not installed")
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAHAVISHNU_")}
    if request.param == "podman":
        place = tmp_path_factory.mktemp("podman")
        store = f'[storage]\ndriver = "vfs"\ngraphroot = "{place}/root"\nrunroot = "{place}/run"\n'
        (place / "storage.conf").write_text(store)
        env["CONTAINERS_STORAGE_CONF"] = str(place / "storage.conf")
    tried = [
        subprocess.run([program, "import", "-", IMAGE], input=busybox(), env=env, capture_output=True, timeout=60),
        subprocess.run(
            [program, "run", "--rm", "--network=none", IMAGE, "true"], env=env, capture_output=True, timeout=60
        ),
    ]
    if any(done.returncode != 0 for done in tried):
        said = last_word(b"".join(done.stderr for done in tried).decode(errors="replace"))
        pytest.skip(f"{request.param} cannot run a container here: {said or 'it does not say why'}")
    yield RealEngine(request.param, env)
    subprocess.run([program, "rmi", "--force", IMAGE], env=env, capture_output=True, timeout=60, check=False)


def test_a_command_runs_with_its_variables_and_leaves_nothing(real: RealEngine) -> None:
    payload = {"command": 'echo "$A" $PATH; echo err >&2; exit 3', "shell": True, "env": {"A": "x\ny", "PATH": "/bin"}}
    context = real.context(payload)

    outcome = execute(context)

    assert (outcome.status, outcome.exit_code, outcome.output) == ("failed", 3, "x\ny /bin\n")
    assert outcome.error == "The command ended with exit code 3: err"
    assert real.left(context) == []


def test_without_being_asked_for_there_is_no_network_and_with_it_no_change(real: RealEngine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content\n")
    mounts = [f"{tmp_path}:/data"]

    assert real.run("ls /sys/class/net").output.split() == ["lo"]
    assert real.run("cat /data/file; touch /data/new", mounts=mounts).output == "content\n"
    assert "Read-only file system" in (real.run("touch /data/new", mounts=mounts).error or "")
    assert "Read-only file system" in (real.run("touch /new", read_only=True).error or "")
    assert real.run("touch /data/new", mounts=[f"{tmp_path}:/data:rw"]).status == "completed"
    assert (tmp_path / "new").exists()


def test_limits_user_and_directory_are_those_of_the_payload(real: RealEngine) -> None:
    outcome = real.run("id -u; pwd", user="1234:1234", workdir="/tmp", memory="64m", cpu=0.5)

    assert outcome.output == "1234\n/tmp\n"


@pytest.mark.parametrize("script", ["echo begun; sleep 600", "trap '' TERM; echo begun; while :; do sleep 0.1; done"])
def test_a_container_that_does_not_listen_is_gone_after_a_cancel(real: RealEngine, script: str) -> None:
    context = real.context({"command": script, "shell": True})

    outcome = _cancel_when_begun(context)

    assert (outcome.status, outcome.output) == ("cancelled", "begun\n")
    assert real.left(context) == []


def test_a_container_that_ends_in_order_keeps_its_last_words(real: RealEngine) -> None:
    script = "trap 'echo bye; exit 0' TERM; echo begun; while :; do sleep 0.05; done"
    context = real.context({"command": script, "shell": True})

    assert _cancel_when_begun(context).output == "begun\nbye\n"
    assert real.left(context) == []


def test_a_container_is_gone_after_its_timeout(real: RealEngine) -> None:
    context = real.context({"command": "echo begun; sleep 600", "shell": True}, timeout=2.0)

    outcome = execute(context)

    assert (outcome.status, outcome.output) == ("timeout", "begun\n")
    assert real.left(context) == []


def test_much_output_arrives(real: RealEngine) -> None:
    outcome = real.run("seq 1 300000; echo last")

    assert outcome.status == "completed"
    assert outcome.output.startswith("1\n2\n")
    assert outcome.output.endswith("300000\nlast\n")


def test_an_image_that_is_not_there_is_named(real: RealEngine) -> None:
    outcome = execute(real.context({"image": "localhost/not-there:1"}))

    assert outcome.status == "failed"
    assert "could not run the container" in (outcome.error or "")
    assert "not-there" in (outcome.error or "")


def test_a_prompt_runs_in_the_tasks_directory(real: RealEngine, tmp_path: Path) -> None:
    spec = {"prompt": "pwd; touch made", "cwd": str(tmp_path)}
    context = make_context(spec, worker_type="container", env=real.env, services=real.services)

    outcome = execute(context)

    assert (outcome.status, outcome.output) == ("completed", f"{tmp_path}\n")
    assert (tmp_path / "made").exists()


def test_what_a_killed_worker_left_is_found_by_its_label_and_removed(
    real: RealEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", {**real.env})
    payload = {"image": IMAGE, "pull": "never", "command": ["sleep", "600"]}
    owner = {"MAHAVISHNU_LEASE": "pool_1:n:1", "MAHAVISHNU_AGENT_ID": "real-test", "MAHAVISHNU_NODE_NAME": "n"}
    given = {"spec": {"task_type": "container", "payload": payload}, "env": {**real.env, **owner}}
    worker = subprocess.Popen([sys.executable, "-c", WORKER, json.dumps(given)], cwd=Path(__file__).parents[2])
    labels = {"mahavishnu.lease": "pool_1:n:1"}
    try:
        eventually(lambda: real.engine.find(labels), within=30)
    finally:
        for process in [*psutil.Process(worker.pid).children(recursive=True), psutil.Process(worker.pid)]:
            process.send_signal(signal.SIGKILL)
        worker.wait()
    assert real.engine.find(labels)

    asyncio.run(ContainerSweeper("real-test").end("pool_1:n:1"))

    assert real.engine.find(labels) == []


def _cancel_when_begun(context: RunContext) -> Outcome:
    assert isinstance(context.log, RecordingLog)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(execute, context)
        eventually(context.log.text, until=lambda text: "begun" in text, within=30)
        threading.Thread(target=context.cancellation.cancel).start()
        return future.result(30)
