"""The examples of docs/extending.md and docs/celery.md, as they stand there."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mahavishnu_pools.embedded.state import read_state
from tests.docs import blocks
from tests.docs.conftest import surroundings
from tests.fixtures import warm


class Extended:
    """A stack where all examples are installed, and programs that use it."""

    def __init__(self, place: Path, environment: dict[str, str]) -> None:
        settings = {"PYTHONPATH": str(place), "MAHAVISHNU_WORKER_TYPES_FILE": str(place / "worker_types.yaml")}
        nobody = "http://127.0.0.1:1/mcp"
        servers = {"MAHAVISHNU_SESSION_BUDDY_POOL_URL": nobody, "MAHAVISHNU_AKOSHA_URL": nobody}
        self._environment = {**environment, **settings, **servers}
        self.place, self._directory = place, place.parent
        self.data_dir = Path(environment["MAHAVISHNU_DATA_DIR"])

    def __call__(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run ``mahavishnu`` and check its exit code."""
        options = {"env": self._environment, "cwd": self._directory, "text": True, "timeout": 60}
        return self._checked(warm.run([*warm.MAHAVISHNU, *arguments], **options), code=code)

    def python(self, text: str) -> subprocess.CompletedProcess[str]:
        """Run a Python program."""
        options = {"env": self._environment, "cwd": self._directory, "text": True, "timeout": 60}
        return self._checked(subprocess.run(["python", "-c", text], capture_output=True, **options), code=0)

    def _checked(self, done: subprocess.CompletedProcess[str], *, code: int) -> subprocess.CompletedProcess[str]:
        assert done.returncode == code, done.stderr + done.stdout
        return done


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory, valkey_binary: Path) -> Iterator[Extended]:
    """Return such a stack, running."""
    base = tmp_path_factory.mktemp("extended")
    place = base / "extensions"
    info = place / "examples-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: examples\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("\n".join(entry_points()), encoding="utf-8")
    for block in blocks.blocks("extending.md"):
        if block.file is not None:
            (place / block.file).write_text(block.text, encoding="utf-8")
    with surroundings(base / "stack") as environment:
        stack = Extended(place, environment)
        stack("up", "--detach")
        yield stack


def entry_points() -> list[str]:
    """Return the entry points of the document's TOML blocks in the form of an installed package."""
    found = []
    for block in blocks.blocks("extending.md"):
        if block.language == "toml":
            head, _, rest = block.text.partition("\n")
            group = head.strip("[]").removeprefix('project.entry-points."').removesuffix('"')
            found += [f"[{group}]", rest.replace('"', "")]
    return found


def value(done: subprocess.CompletedProcess[str], name: str) -> object:
    return json.loads(done.stdout)[name]


def test_the_worker_type_of_the_example_runs_prompts(extended: Extended) -> None:
    extended("pools", "spawn", "--name", "loud", "--worker-type", "upper")

    done = extended("pools", "execute", "loud", "--prompt", "quiet please", "--format", "json")

    assert str(value(done, "output")).strip() == "QUIET PLEASE"


def test_the_reducer_of_the_example_reduces(extended: Extended) -> None:
    extended("pools", "spawn", "--name", "reducing", "--worker-type", "shell", "--import", "my_reducers")

    done = extended(
        *(
            "pools",
            "distribute",
            "--strategy",
            "map_reduce",
            "--reducer",
            "longest",
            "--format",
            "json",
            "--pool",
            "reducing",
        ),
        *("--task-type", "prompt", "--payload", '{"prompt": "echo {item}", "items": ["a", "long one", "b"]}'),
    )

    assert value(done, "reduced") == "long one\n"


def test_the_routing_strategy_of_the_example_chooses(extended: Extended) -> None:
    for name, workers in (("wide", "2"), ("narrow", "1")):
        extended("pools", "spawn", "--name", name, "--worker-type", "shell", "--min", workers, "--tag", "routed")

    done = extended(
        *("pools", "route", "--worker-type", "shell", "--prompt", "echo hi", "--selector", "fewest_workers"),
        *("--tag", "routed", "--explain", "--format", "json"),
    )

    routing = json.loads(done.stdout)["routing"]
    chosen = {one["pool_id"]: one["name"] for one in routing["candidates"]}
    assert (routing["strategy"], chosen[routing["pool_id"]]) == ("fewest_workers", "narrow")


def test_the_sink_of_the_example_gets_every_outcome(extended: Extended) -> None:
    extended("pools", "spawn", "--name", "noted", "--worker-type", "shell")
    extended("pools", "execute", "noted", "--prompt", "echo remember me")

    extended("pools", "sync")
    hits = extended("pools", "search-memory", "remember me", "--format", "json")
    told = extended("pools", "stats", "--format", "json")

    lines = (extended.data_dir / "outcomes.jsonl").read_text(encoding="utf-8").splitlines()
    assert sum("remember me" in json.loads(line)["content"] for line in lines) == 1
    assert json.loads(told.stdout)["memory_sync"]["sinks"]["json_lines"]["pending"] == 0
    assert "json_lines" not in hits.stderr


def test_the_task_types_of_the_example_run_and_refuse_what_does_not_fit(extended: Extended) -> None:
    extended("pools", "spawn", "--name", "words", "--worker-type", "shell", "--import", "my_types")
    run = ("pools", "execute", "words", "--format", "json", "--task-type")

    counted = extended(*run, "count-words", "--payload", '{"text": "one two three"}')
    listed = extended(*run, "list-directory", "--payload", '{"text": "/"}')
    refused = extended(*run, "count-words", "--payload", '{"words": 3}', code=2)

    assert value(counted, "value") == 3
    assert "tmp" in str(value(listed, "output")).split()
    assert "text" in refused.stderr


def test_the_celery_application_of_the_document_sends_to_its_pool(extended: Extended) -> None:
    state = read_state(extended.data_dir)
    assert state is not None
    assert state.redis_url is not None
    shop, calls, send = (block.text for block in blocks.blocks("celery.md") if block.language == "python")
    shop = shop.replace("redis://127.0.0.1:6379/0", state.redis_url)
    (extended.place / "shop.py").write_text(shop, encoding="utf-8")
    (console,) = (block.text for block in blocks.blocks("celery.md") if block.language == "console")
    *_, spawn = blocks.command_lines(console)
    extended(*spawn)
    extended("pools", "spawn", "--name", "alpha", "--worker-type", "shell")

    *routed, usual = (line for line in calls.splitlines() if line.startswith("resize."))
    asked = "\n".join(f"print({line}.get(timeout=30))" for line in routed)
    sent = extended.python(f"from shop import app, resize\n{asked}\n{usual}\nprint(app.backend.client.llen('celery'))")
    done = extended.python(send)

    assert sent.stdout.split() == ["a.png"] * 3 + ["1"]
    assert done.stdout == "hello\n\n"


def test_an_entry_point_brings_task_types_to_every_pool(extended: Extended) -> None:
    extended("pools", "spawn", "--name", "plain", "--worker-type", "shell")

    done = extended(
        *("pools", "execute", "plain", "--task-type", "count-words"),
        *("--payload", '{"text": "one two"}', "--format", "json"),
    )

    assert value(done, "value") == 2


def test_the_pool_type_of_the_example_checks_its_rule_runs_tasks_and_makes_its_handles(extended: Extended) -> None:
    spawn = ("pools", "spawn", "--type", "night", "--worker-type", "shell", "--format", "json")

    refused = extended(*spawn, "--name", "day", code=2)
    spawned = extended(*spawn, "--name", "owl", "--tag", "night")
    ran = extended("pools", "execute", "owl", "--prompt", "echo hoo", "--format", "json")
    handle = extended.python(
        "import asyncio, mahavishnu_pools\n"
        "async def main():\n"
        "    manager = mahavishnu_pools.PoolManager()\n"
        "    print(type(await manager.get_pool('owl')).__name__)\n"
        "    await manager.close()\n"
        "asyncio.run(main())"
    )

    assert "lacks 'night'" in refused.stderr
    assert value(spawned, "pool_type") == "night"
    assert value(ran, "output") == "hoo\n"
    assert handle.stdout.strip() == "NightPool"
