"""The examples run as their READMEs say, on one stack, with worker type ``shell`` where an AI program is meant."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mahavishnu_pools import PoolManager, Settings
from mahavishnu_pools.embedded.private import PrivateStack
from tests.docs import blocks
from tests.fixtures.valkey import PrivateValkey
from tests.waiting import eventually

#: What every example begins with, and the tests do once for all.
PREPARATION = ("mahavishnu up", "export ", "pip install")

#: Seconds that anything may take on a loaded machine.
LONG = 120.0


class Examples:
    """A copy of the examples, a stack that finds what they bring, and somebody who follows their READMEs."""

    def __init__(self, place: Path, stack: PrivateStack, environment: dict[str, str]) -> None:
        self.place, self.redis_url = place, stack.redis_url
        self._environment = {**environment, "MAHAVISHNU_DATA_DIR": str(stack.data_dir), "COLUMNS": "200"}

    def told(self, name: str, *begins: str) -> list[str]:
        """Return the commands of an example's README (those that begin so), without what all of them begin with."""
        found = blocks.blocks_of(self.place / name / "README.md")
        lines = [line for block in found if block.language == "sh" for line in block.text.splitlines()]
        return [line for line in lines if not line.startswith(PREPARATION) and line.startswith(begins or "")]

    def run(self, name: str, command: str, *, code: int = 0) -> str:
        """Run a command line in the directory of an example and return what it printed."""
        where, how = self.place / name, {"capture_output": True, "text": True, "timeout": LONG}
        done = subprocess.run(["bash", "-c", command], cwd=where, env=self._environment, check=False, **how)
        assert done.returncode == code, done.stderr + done.stdout
        return str(done.stdout)

    @contextmanager
    def started(self, name: str, command: str) -> Iterator[subprocess.Popen[str]]:
        """Run a command line for the time of the block."""
        process = subprocess.Popen(
            ["bash", "-c", f"exec env {command}"], cwd=self.place / name, env=self._environment,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        with process:
            try:
                yield process
            finally:
                process.terminate()
                process.communicate(timeout=LONG)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory, valkey_server: PrivateValkey) -> Iterator[Examples]:
    """Return the examples with everything installed that they need."""
    base = tmp_path_factory.mktemp("examples")
    place = shutil.copytree(blocks.ROOT / "examples", base / "examples")
    site = base / "site"
    install = ("pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    subprocess.run(
        [sys.executable, "-m", *install, "--target", site, place / "pool_type"], check=True, stdin=subprocess.DEVNULL
    )
    environment = {
        **os.environ,
        "SHOP_REDIS_URL": valkey_server.url,  # the shop has its own server
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(map(str, (site, place / "map_reduce", place / "existing_app"))),
    }
    stack = PrivateStack(Settings(kill_grace=0.5, drain_timeout=1.0, allowed_roots=(base,)))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PYTHONPATH", "SHOP_REDIS_URL"):
            patch.setenv(name, environment[name])
        asyncio.run(stack.start())
    yield Examples(place, stack, environment)
    asyncio.run(stack.stop())


def ask(url: str, body: object = None) -> tuple[int, Any]:
    """Return status and JSON of an answer; with a body it is a POST."""
    request = urllib.request.Request(url, data=None if body is None else json.dumps(body).encode())
    try:
        with urllib.request.urlopen(request, timeout=LONG) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, json.load(answer)


def ended(url: str) -> dict[str, Any]:
    """Return what is told of a task once it has ended."""
    states = ("SUCCESS", "FAILURE")
    return eventually(lambda: ask(url)[1], until=lambda found: found["state"] in states, within=LONG)


def repository(place: Path, text: str) -> Path:
    place.mkdir(parents=True)
    (place / "notes.txt").write_text(text)
    for command in (
        "init -q -b main",
        "config user.email t@example.com",
        "config user.name T",
        "add .",
        "commit -qm first",
    ):
        subprocess.run(["git", "-C", place, *command.split()], check=True)
    return place


def test_a_prompt_is_fanned_out_over_worktrees(examples: Examples, tmp_path: Path) -> None:
    good, same, bad = (repository(tmp_path / name, f"{name}\n") for name in ("good", "same", "bad"))
    prompt = "case $(cat notes.txt) in good) echo done >> notes.txt;; bad) echo no >&2; exit 3;; esac"

    # What goes wrong before anything ran leaves nothing in the way of the next try.
    examples.run("worktrees", f"python fan_out.py --worker-type shell x {good} {tmp_path}/none", code=1)
    printed = examples.run("worktrees", f"python fan_out.py --worker-type shell '{prompt}' {good} {same} {bad}", code=1)

    def git(where: Path, *words: str) -> str:
        return subprocess.run(["git", "-C", where, *words], check=True, capture_output=True, text=True).stdout

    branches = git(good, "branch", "--list", "mahavishnu/*").split()
    assert f"{good}: completed: 1 files, +1 −0, on branch {branches[0]}" in printed
    assert f"{same}: completed: no change" in printed
    assert f"{bad}: failed (no): no change" in printed or "exit code 3: no): no change" in printed
    assert git(good, "show", f"{branches[0]}:notes.txt") == "good\ndone\n"
    assert (good / "notes.txt").read_text() == "good\n"
    assert [git(one, "branch", "--list", "mahavishnu/*") for one in (same, bad)] == ["", ""]
    assert git(good, "worktree", "list").count("\n") == 1


def test_beat_sends_the_nightly_job_to_its_pool(examples: Examples, tmp_path: Path) -> None:
    spawn, beat = examples.told("nightly")
    examples.run("nightly", spawn)

    async def done() -> list[str]:
        async with PoolManager(settings=Settings(redis_url=examples.redis_url)) as manager:
            ended = await manager.tasks(pool="nightly", status=["completed"])
            return [(await manager.result(one.task_id)).output for one in ended]

    with examples.started("nightly", beat.replace("EVERY=5", "EVERY=0.5").replace("/tmp", str(tmp_path))):
        outputs = eventually(lambda: asyncio.run(done()), until=lambda found: len(found) >= 2, within=LONG)

    assert all(output.strip().endswith("\t.") for output in outputs)


def test_a_web_back_end_submits_from_synchronous_code(examples: Examples) -> None:
    spawn, serve = examples.told("web_backend")
    examples.run("web_backend", spawn)

    with examples.started("web_backend", serve.replace("8000", "0")) as server:
        assert server.stdout is not None
        tasks = server.stdout.readline().strip()
        status, sent = ask(tasks, {"prompt": "echo hello", "key": "once"})
        _, again = ask(tasks, {"prompt": "echo hello", "key": "once"})
        done = ended(f"{tasks}/{sent['id']}")
        _, failing = ask(tasks, {"prompt": "exit 3"})
        failed = ended(f"{tasks}/{failing['id']}")
        refused, why = ask(tasks, {"prompt": ""})

    assert (status, again, done["output"]) == (202, sent, "hello\n")
    assert (failed["state"], "exit code 3" in failed["error"]) == ("FAILURE", True)
    assert (refused, "prompt" in why["error"]) == (400, True)


def test_words_are_counted_and_reduced_by_the_examples_own_reducer(examples: Examples, tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number}.txt").write_text("one two two " * number)

    printed = examples.run("map_reduce", f"python count.py {tmp_path}/*.txt")
    for line in examples.told("map_reduce", "mahavishnu"):
        printed_by_shell = examples.run("map_reduce", line)

    assert printed.splitlines() == ["198 words", "     132 two", "      66 one"]
    assert '"unread": 0' in printed_by_shell


def test_a_pool_type_of_a_package_makes_and_removes_what_its_pools_have(examples: Examples, tmp_path: Path) -> None:
    source, clones = repository(tmp_path / "api", "first\n"), tmp_path / "clones"
    clones.mkdir()
    spawn, execute, close = (
        line.replace("/tmp", str(clones)).replace("~/projects/api", str(source)) for line in examples.told("pool_type")
    )
    (handle,) = [
        block.text
        for block in blocks.blocks_of(examples.place / "pool_type" / "README.md")
        if block.language == "python"
    ]
    lines = "\n".join(f"        {line}" for line in handle.replace("make test", "cat notes.txt").splitlines())
    program = (
        "import asyncio, mahavishnu_pools\n"
        "async def main():\n"
        "    async with mahavishnu_pools.PoolManager() as manager:\n"
        f"{lines}\n"
        "        print(result.output.strip())\n"
        "asyncio.run(main())"
    )

    examples.run("pool_type", spawn)
    assert "first" in examples.run("pool_type", execute)
    (source / "notes.txt").write_text("second\n")
    subprocess.run(["git", "-C", source, "commit", "-qam", "second"], check=True)
    assert examples.run("pool_type", f"python - <<'END'\n{program}\nEND") == "second\n"
    examples.run("pool_type", close)

    assert list(clones.iterdir()) == []


def test_an_existing_application_sends_some_of_its_tasks_to_pools(examples: Examples) -> None:
    spawn, worker, serve = examples.told("existing_app")
    examples.run("existing_app", spawn)

    with (
        examples.started("existing_app", worker.replace("&", "--pool solo --loglevel ERROR")),
        examples.started("existing_app", serve.replace("8000", "0")) as server,
    ):
        assert server.stdout is not None
        url = server.stdout.readline().strip().removesuffix("/orders")
        _, sent = ask(f"{url}/orders", {"order": 7, "customer": "ann", "prices": [2.5, 4]})
        invoice, mail = (ended(f"{url}/results/{sent[what]}") for what in ("invoice", "mail"))

    assert invoice == {"state": "SUCCESS", "result": {"order": 7, "total": 6.5}}
    assert mail["result"] == "sent to ann: Order 7 has arrived."
