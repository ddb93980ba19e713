"""Tasks in worktrees on real pools: side by side, looked at, applied and discarded by people; and broken off."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from mahavishnu_pools import PoolManager, errors, names
from mahavishnu_pools.broker.message import envelope
from mahavishnu_pools.embedded.private import PrivateStack
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.schemas.task import TaskSpec
from mahavishnu_pools.server.change_tools import ApplyChanges, ChangeTools, DiscardChanges, ShowDiff
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store import tasks
from mahavishnu_pools.worktrees.records import branch_of
from tests.fakes.repository import Repository
from tests.fixtures.agents import Farm
from tests.fixtures.command_line import Cli
from tests.waiting import eventually

#: How many tasks work on one repository at once.
MANY = 20

#: Waits until all are there, so that they do run at once, and changes the same line as the others do.
TOGETHER = """\
touch {meeting}/{number}; read _ < {gate}
ls {meeting} | wc -l; git status --short
sed -i s/two/{number}/ a.txt; echo {number} > own-{number}; git add a.txt
"""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "api")


def ran(cli: Cli, pool: str, *prompts: str, cwd: Path) -> Any:
    given = [word for prompt in prompts for word in ("--prompt", prompt)]
    return cli.json("pools", "execute", pool, *given, "--isolation", "worktree", "--cwd", str(cwd))


def test_twenty_tasks_work_on_one_repository_at_once_and_none_disturbs_another(
    cli: Cli, repository: Repository, tmp_path: Path
) -> None:
    cli("pools", "spawn", "--name", "many", "--worker-type", "shell", "--min", str(MANY), "--max", str(MANY))
    meeting, gate = tmp_path / "meeting", tmp_path / "gate"
    meeting.mkdir()
    os.mkfifo(gate)
    passing = os.open(gate, os.O_RDWR)
    before = repository.state()
    prompts = [TOGETHER.format(meeting=meeting, gate=gate, number=number) for number in range(MANY)]

    def open_gate() -> None:
        eventually(lambda: len(list(meeting.iterdir())) == MANY, within=100)
        os.write(passing, b"\n" * MANY)

    opener = threading.Thread(target=open_gate)
    opener.start()
    found = ran(cli, "many", *prompts, cwd=repository.top)
    opener.join()
    os.close(passing)

    results = found["items"] if "items" in found else found["results"]
    assert [one["output"].split() for one in results] == [[str(MANY)]] * MANY
    for number, one in enumerate(results):
        told = one["metadata"]["worktree"]
        assert (told["files"], told["branch"]) == (2, branch_of(one["task_id"]))
        assert repository.git("show", f"{told['branch']}:a.txt").splitlines() == ["one", str(number), "three"]
        assert repository.git("ls-tree", "--name-only", told["branch"]).split()[-2:] == [f"own-{number}", "sub"]
    assert len(repository.branches()) == MANY
    assert repository.state() == before
    assert repository.git("worktree", "list").count("\n") == 0
    cli("pools", "close", "many")


def test_changes_are_looked_at_applied_and_discarded_at_the_command_line(
    cli: Cli, pool: str, repository: Repository
) -> None:
    task_id = ran(cli, pool, "sed -i s/two/2/ a.txt; echo new > 'ü n.txt'", cwd=repository.top / "sub")["task_id"]
    one = ran(cli, pool, "sed -i s/two/2/ ../a.txt", cwd=repository.top / "sub")["task_id"]

    shown = cli("pools", "task", one)
    assert branch_of(one) in shown
    assert f"1 file, +1 −1; mahavishnu pools diff {one}, apply, or discard" in " ".join(shown.split())
    assert "-two\n+2\n" in cli("pools", "diff", one)
    assert "a.txt | 2 +-" in cli("pools", "diff", one, "--stat")
    assert cli.json("pools", "diff", task_id)["changed"][0]["path"] == "sub/ü n.txt"
    assert "1 file" in cli("pools", "apply", one)
    assert (repository.top / "a.txt").read_text() == "one\n2\nthree\n"
    assert "was applied already" in cli("pools", "apply", one)
    cli("pools", "apply", one, "--commit", code=2)
    assert "applied already, and is not committed: 'a.txt'" in cli.err
    assert cli.json("pools", "apply", task_id, "--commit")["files"] == ["sub/ü n.txt"]
    cli("pools", "discard", code=2)
    cli("pools", "discard", one, "--batch", "b", code=2)
    discarded = cli("pools", "discard", one, task_id)
    assert all(f"branch {branch_of(each)} is deleted" in discarded for each in (one, task_id))
    assert repository.branches() == []
    cli("pools", "diff", one, code=3)
    assert "were discarded" in cli.err


def test_the_changes_of_a_batch_are_applied_in_order_up_to_the_first_conflict(
    cli: Cli, pool: str, repository: Repository
) -> None:
    prompts = ("echo b > b.txt", "true", "echo 2 > a.txt", "echo 3 > a.txt")
    asked = [word for prompt in prompts for word in ("--prompt", prompt)]
    options = ("--isolation", "worktree", "--cwd", str(repository.top))
    found = cli.json("pools", "execute", pool, *asked, *options)
    (b, nothing, two, three), batch = [one["task_id"] for one in found["items"]], found["batch_id"]

    cli("pools", "apply", "--batch", batch, code=2)

    assert f"Task {three}: Nothing was applied to" in cli.err
    assert f"Done before it: {b}, {two}." in cli.err
    assert (repository.top / "a.txt").read_text() == "2\n"
    done = cli.json("pools", "discard", "--batch", batch)
    assert [one["branch"] for one in done["tasks"]] == [branch_of(b), None, branch_of(two), branch_of(three)]
    assert nothing in {one["task_id"] for one in done["tasks"]}
    assert repository.branches() == []


def test_assistants_need_a_word_before_they_write(
    cli: Cli, pool: str, repository: Repository, shared_stack: PrivateStack
) -> None:
    task_id = ran(cli, pool, "sed -i s/two/2/ a.txt", cwd=repository.top)["task_id"]
    settings = Settings(redis_url=shared_stack.redis_url, data_dir=shared_stack.data_dir)

    class Pools:
        async def manager(self) -> PoolManager:
            return manager

    async def talk() -> None:
        tools = ChangeTools(Pools())  # type: ignore[arg-type]
        assert "+2" in (await tools.diff(ShowDiff(task_id=task_id))).text
        for call, given in ((tools.apply, ApplyChanges), (tools.discard, DiscardChanges)):
            with pytest.raises(errors.InvalidField, match="confirm"):
                await call(given(task_id=task_id))  # type: ignore[arg-type]
        applied = await tools.apply(ApplyChanges(task_id=task_id, confirm=True))
        assert applied.value["files"] == ["a.txt"]
        discarded = await tools.discard(DiscardChanges(task_id=task_id, confirm=True))
        assert discarded.value["branch"] == branch_of(task_id)

    async def main() -> None:
        nonlocal manager
        manager = PoolManager(settings=settings)
        try:
            await talk()
        finally:
            await manager.close()

    manager: PoolManager
    asyncio.run(main())
    assert repository.branches() == []


def test_a_check_finds_what_was_broken_off_and_saves_it(
    cli: Cli, repository: Repository, shared_stack: PrivateStack
) -> None:
    from mahavishnu_pools.worktrees.making import Wanted, make_tree
    from mahavishnu_pools.worktrees.records import Place

    task_id = names.new_task_id()
    place = Place(shared_stack.data_dir)
    tree = make_tree(place, Wanted(task_id, 1, "n", repository.top, (), {}, "", lambda: False))
    (tree.path / "half").write_text("x")
    tree.lock.release()

    found = cli.json("check", "--check", "state", code=1)
    assert [one["subject"] for one in found["findings"] if one["kind"] == "worktree_left"] == [task_id]
    repaired = cli.json("check", "--check", "state", "--repair", code=1)
    assert repaired["repaired"]["worktree_left"] == 1
    notes = [one for one in cli.json("check", "--check", "state")["findings"] if one["kind"] == "worktree_unreviewed"]
    assert task_id in [one["subject"] for one in notes]
    assert "half" in cli("pools", "diff", task_id)
    cli("pools", "discard", task_id)


def test_a_task_whose_worker_was_killed_begins_anew_at_the_same_commit(
    farm: Farm, repository: Repository, tmp_path: Path
) -> None:
    farm.agent(group="workers.group_worker:run_group", ALLOWED_ROOTS=str(tmp_path)).wait_ready()
    pool_id = farm.create(worker_type="shell", isolation="worktree")
    pid = farm.wait_running(pool_id, within=30)
    first = tmp_path / "first"
    script = f"echo x >> log.txt; [ -e {first} ] || {{ touch {first}; sleep 60; }}; cat log.txt c.txt"
    task_id = names.new_task_id()
    spec = TaskSpec(prompt=script, cwd=str(repository.top))
    farm.run(tasks.submit([envelope(spec, task_id=task_id, max_bytes=100_000)], Choice("pool", pool=pool_id)))
    eventually(first.exists, within=60)
    repository.commit({"c.txt": "later\n"}, "second")

    os.kill(pid, signal.SIGKILL)

    result = eventually(lambda: farm.task(task_id), until=lambda one: one.done, within=90)
    assert (result.output or "").splitlines()[:1] == ["x"]
    assert "later" not in (result.output or "")
    assert (result.attempts, result.metadata["worktree"]["files"]) == (2, 1)  # type: ignore[index,call-overload]
    assert repository.branches() == [branch_of(task_id)]
    assert repository.git("worktree", "list").count("\n") == 0
