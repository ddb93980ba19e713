"""Tasks that wait until nobody else works in their checkout."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mahavishnu_pools.worktrees.records import Place
from tests.fakes.at_once import all_at_once, started, waits
from tests.fakes.repository import Repository
from tests.fakes.run_context import install_program, make_context, shell_task
from tests.waiting import eventually
from workers.executors.interface import RunContext
from workers.executors.registry import execute


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "data")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repo")


def robot(tmp_path: Path, script: str) -> dict[str, str]:
    """Return an environment in which ``claude`` is a script."""
    directory = install_program(tmp_path / "bin", "claude", f"cat > /dev/null\n{script}")
    return {"PATH": f"{directory}{os.pathsep}{os.environ['PATH']}"}


SCRIPT = """\
[ -e busy ] && echo both >> disturbed
touch busy; sleep 0.05; rm busy
echo '{"type": "result", "result": "done"}'
"""


def ai_task(place: Place, cwd: Path, env: dict[str, str], **fields: Any) -> RunContext:
    spec = {"prompt": "work", "cwd": str(cwd), **fields}
    return make_context(spec, services={"worktrees": place}, env=env, worker_type="terminal-claude")


def test_one_ai_task_at_a_time_works_in_a_checkout_and_others_say_that_they_wait(
    place: Place, repository: Repository, tmp_path: Path
) -> None:
    env = robot(tmp_path, SCRIPT)
    contexts = [ai_task(place, where, env) for where in (repository.top, repository.top / "sub", repository.top)]
    lock = place.checkout_lock(repository.top)
    assert lock.take("somebody")

    threads, outcomes = started(contexts)
    eventually(lambda: all(waits(one) for one in contexts), within=30)
    lock.release()
    for thread in threads:
        thread.join()

    assert [one.status for one in outcomes] == ["completed"] * 3, outcomes
    assert not (repository.top / "disturbed").exists()


def test_nobody_waits_outside_of_repositories_or_with_isolation_none(place: Place, tmp_path: Path) -> None:
    script = """
touch $MAHAVISHNU_TASK_ID.here
for _ in $(seq 600); do [ $(ls *.here | wc -l) = 2 ] && break; sleep 0.1; done
ls *.here | wc -l
"""
    env = robot(tmp_path, f'{script}echo \'{{"type": "result", "result": "done"}}\'')
    plain = tmp_path / "plain"
    plain.mkdir()
    repository = Repository(tmp_path / "repo")

    outcomes = all_at_once([ai_task(place, plain, env) for _ in range(2)])
    outcomes += all_at_once([ai_task(place, repository.top, env, isolation="none") for _ in range(2)])

    assert [one.status for one in outcomes] == ["completed"] * 4, outcomes
    assert len(list(plain.glob("*.here"))) == len(list(repository.top.glob("*.here"))) == 2


def test_a_task_that_waits_for_a_checkout_can_be_cancelled(
    place: Place, repository: Repository, tmp_path: Path
) -> None:
    lock = place.checkout_lock(repository.top)
    assert lock.take("somebody")
    given = make_context(
        shell_task("touch ran", cwd=str(repository.top), isolation="lock"), services={"worktrees": place}
    )
    (thread,), outcomes = started([given])
    eventually(lambda: waits(given), within=30)

    given.cancellation.cancel()
    thread.join()
    lock.release()

    assert outcomes[0].status == "cancelled"
    assert not (repository.top / "ran").exists()


def test_programs_of_a_killed_worker_are_ended_before_the_next_one_works_there(
    place: Place, repository: Repository
) -> None:
    killed = place.checkout_lock(repository.top)
    assert killed.take("task_killed")
    (file,) = (place.data_dir / "locks").iterdir()
    killed.release()
    file.write_text("task_killed")  # as it is when the lock went with its process
    left = subprocess.Popen(["sleep", "600"], env={**os.environ, "MAHAVISHNU_TASK_ID": "task_killed"})
    given = make_context(shell_task("true", cwd=str(repository.top), isolation="lock"), services={"worktrees": place})

    assert execute(given).status == "completed"
    assert left.wait(30) != 0
    assert file.read_text() == ""
