"""Fresh directories of tasks do not outlive their worker group, however it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from mahavishnu_pools import names
from mahavishnu_pools.broker.message import envelope
from mahavishnu_pools.schemas.task import TaskSpec, TaskStatus
from mahavishnu_pools.store import tasks
from tests.fixtures.agents import Farm, kill
from tests.fixtures.groups import lines
from tests.waiting import eventually

GROUP = "workers.group_worker:run_group"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the agent's processes make temporary files."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setenv("TMPDIR", str(directory))
    return directory


def test_what_a_killed_group_left_is_removed_and_a_stopped_one_leaves_nothing(
    farm: Farm, temporary: Path, tmp_path: Path
) -> None:
    agent = farm.agent(group=GROUP).wait_ready()
    pool_id = farm.create()
    pid = farm.wait_running(pool_id)
    told, go = tmp_path / "told", tmp_path / "go"
    script = f"pwd >> {told}; mkdir -p a; chmod 500 a; until [ -e {go} ]; do sleep 0.05; done"
    task_id = _submit(farm, pool_id, script)
    [first] = eventually(lambda: lines(told), until=lambda found: len(found) == 1)
    assert Path(first).is_relative_to(temporary)

    kill(pid)

    _, second = eventually(lambda: lines(told), until=lambda found: len(found) == 2)
    assert not Path(first).parent.exists()
    assert Path(second).is_dir()
    go.touch()
    eventually(lambda: farm.task(task_id).status is TaskStatus.COMPLETED)
    assert not Path(second).exists()

    agent.process.terminate()
    agent.process.wait(timeout=30)
    assert list(temporary.glob("mahavishnu-group-*")) == []


def _submit(farm: Farm, pool_id: str, script: str) -> str:
    task_id = names.new_task_id()
    spec = TaskSpec(task_type="shell", payload={"command": script, "shell": True})
    made = envelope(spec, task_id=task_id, max_bytes=10_000)
    farm.run(tasks.submit([made], tasks.Choice("pool", pool=pool_id)))
    return task_id
