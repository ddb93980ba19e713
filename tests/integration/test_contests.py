"""Contests with real worker groups: the answer comes from whoever is first, and the processes of the others end."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from mahavishnu_pools import errors
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.mcp_client import McpClient
from mahavishnu_pools.schemas.task import TaskStatus
from tests.fixtures.command_line import Cli
from tests.fixtures.groups import Site
from tests.waiting import eventually

#: Ignores TERM, and has a child that left its session and ignores it, too.
STUBBORN = "setsid sh -c 'trap \"\" TERM; sleep 300; sleep 300' & trap '' TERM; sleep 300; sleep 300"


def shell(command: str, **fields: Any) -> dict[str, Any]:
    return {"task_type": "shell", "payload": {"command": ["sh", "-c", command]}, **fields}


def processes_of(task_id: str) -> list[int]:
    found = []
    for one in psutil.process_iter():
        try:
            if one.environ().get("MAHAVISHNU_TASK_ID") == task_id and one.status() != psutil.STATUS_ZOMBIE:
                found.append(one.pid)
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="module")
def crowd(site: Site) -> Iterator[Site]:
    """Return the site with two pools, each with a running group."""
    for name in ("here", "there"):
        site.group(site.pool(name, worker_type="shell"))
    return site


@pytest_asyncio.fixture
async def client(crowd: Site) -> AsyncIterator[PoolManager]:
    found = PoolManager(settings=crowd.settings)
    yield found
    await found.close()


async def test_no_process_of_a_loser_outlives_the_winner_by_more_than_the_grace_period(
    crowd: Site, client: PoolManager, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    waiting = shell(f"until [ -e {go} ]; do sleep 0.05; done; echo first")
    started = await client.start_contest("race", [waiting, shell(STUBBORN)], pools=["here", "there"])
    winners, losers = started.task_ids[:2], started.task_ids[2:]
    for one in losers:
        eventually(lambda one=one: len(processes_of(one)) >= 4, within=30)

    go.touch()
    result = await client.contest(started.batch_id, wait_timeout=60)
    won = time.time()
    for one in losers:
        eventually(lambda one=one: not processes_of(one), within=30)

    print(f"gone {time.time() - won:.2f} s after the decision, the grace period is {crowd.settings.kill_grace:g} s")
    assert result.status == "won"
    assert result.answer is not None
    assert result.answer.task_id in winners
    assert result.output == "first\n"
    ended = [crowd.outcome(one, within=30) for one in losers]
    assert [one.status for one in ended] == [TaskStatus.CANCELLED] * 2
    assert {one.error for one in ended} == {result.reason}
    assert result.answer.task_id in str(result.reason)


async def test_a_decision_needs_no_client(crowd: Site, client: PoolManager, tmp_path: Path) -> None:
    go = tmp_path / "go"
    waiting = shell(f"until [ -e {go} ]; do sleep 0.05; done; basename $PWD > {tmp_path}/ran; echo same")
    async with PoolManager(settings=crowd.settings) as gone:
        started = await gone.start_contest("quorum", [waiting, shell(STUBBORN)], needed=2, agree=True, copies=2)
    go.touch()

    for one in started.task_ids[2:]:
        assert crowd.outcome(one, within=60).status is TaskStatus.CANCELLED
    result = await client.contest(started.batch_id)

    assert (result.status, sorted(result.winners), result.output) == ("won", [0, 1], "same\n")


async def test_a_command_judges_the_answers_it_finds_in_a_file(client: PoolManager) -> None:
    longest = (
        "python3 -c \"import json, os; a = json.load(open(os.environ['MAHAVISHNU_ANSWERS']));"
        " best = max(range(len(a)), key=lambda i: len(a[i]['output'] or ''));"
        " print(json.dumps({'winner': best, 'reason': 'longest'}))\""
    )

    result = await client.best_of(
        [shell("echo short"), shell("echo much longer"), shell("exit 3")],
        {"prompt": longest, "worker_type": "shell"},
        wait_timeout=60,
    )

    assert (result.status, result.winner, result.reason) == ("won", 1, "longest")
    assert result.output == "much longer\n"
    assert [one.status.value for one in result.candidates] == ["completed", "completed", "failed"]
    assert result.judge is not None
    assert result.judge.value == {"winner": 1, "reason": "longest", "task_id": result.candidates[1].task_id}


async def test_a_judge_without_a_pool_is_told_as_the_judge_s_and_with_what_helps(client: PoolManager) -> None:
    with pytest.raises(errors.NoPoolAvailable, match=r"^The judge has no pool\. .*here: .*--judge-with") as caught:
        await client.best_of([shell("echo a"), shell("echo b")], {"prompt": "Which is best?"}, wait_timeout=60)

    assert set(caught.value.details()["reasons"]) == {"here", "there"}


@pytest.mark.parametrize(
    ("says", "why"),
    [("echo 7", "It named no candidate"), ("echo 0", "It named no candidate"), ("exit 1", "not judged")],
)
async def test_without_a_verdict_nobody_wins_and_the_answers_are_kept(client: PoolManager, says: str, why: str) -> None:
    result = await client.best_of(
        [shell("exit 1"), shell("echo b")], {"prompt": says, "worker_type": "shell"}, wait_timeout=60
    )

    assert (result.status, result.winner) == ("failed", None)
    assert why in str(result.reason)
    assert result.candidates[1].output == "b\n"


async def test_a_race_that_nobody_wins_tells_each_failure(client: PoolManager) -> None:
    result = await client.race([shell("exit 3"), shell("sleep 60", timeout=0.2)], wait_timeout=60)

    assert (result.status, result.reason) == ("failed", "No candidate succeeded.")
    assert [one.status.value for one in result.candidates] == ["failed", "timeout"]
    assert all(one.error for one in result.candidates)


async def test_a_cancelled_contest_leaves_nothing_behind(crowd: Site, client: PoolManager) -> None:
    started = await client.start_contest(
        "best_of", shell(STUBBORN), judge={"prompt": "echo 0", "worker_type": "shell"}, copies=2
    )
    for one in started.task_ids:
        crowd.running(one)

    await client.cancel_batch(started.batch_id)

    for one in started.task_ids:
        assert crowd.outcome(one, within=30).status is TaskStatus.CANCELLED
        assert processes_of(one) == []
    result = await client.contest(started.batch_id)
    assert result.status == "failed"
    assert result.judge is not None
    assert result.judge.status is TaskStatus.CANCELLED


async def test_the_same_contest_again_is_the_first_one(crowd: Site, client: PoolManager) -> None:
    task = shell("echo once", idempotency_key="only once")

    first = await client.start_contest("race", task, copies=2)
    result = await client.contest(first.batch_id, wait_timeout=60)
    again = await client.start_contest("quorum", task, copies=5, needed=2)

    assert (again.new, again.task_ids, again.kind.value) == (False, first.task_ids, "race")
    assert (await client.contest(again.batch_id)).winner == result.winner


async def test_what_cannot_be_a_contest_is_refused_before_anything_is_made(crowd: Site, client: PoolManager) -> None:
    before = len(list(crowd.redis.scan_iter("mhv:task:*", count=1000)))
    cases: list[tuple[type[errors.MahavishnuError], str, dict[str, Any]]] = [
        (errors.InvalidField, "only 1 candidate", {"kind": "race"}),
        (errors.InvalidField, "40 candidates", {"kind": "race", "copies": 40}),
        (errors.InvalidField, "needed", {"kind": "quorum", "copies": 2, "needed": 3}),
        (errors.InvalidField, "needed", {"kind": "quorum", "copies": 2}),
        (errors.InvalidField, "needed: is 1.5", {"kind": "quorum", "copies": 2, "needed": 1.5}),
        (errors.InvalidField, "needed: is True", {"kind": "quorum", "copies": 2, "needed": True}),
        (errors.InvalidField, "copies: is '2'", {"kind": "race", "copies": "2"}),
        (errors.InvalidField, "deadline: is 0", {"kind": "race", "copies": 2, "deadline": 0}),
        (errors.InvalidField, "deadline: is nan", {"kind": "race", "copies": 2, "deadline": float("nan")}),
        (errors.InvalidField, "pools: is a text", {"kind": "race", "copies": 2, "pools": "here"}),
        (errors.InvalidField, "worker_types: is a text", {"kind": "race", "copies": 2, "worker_types": "shell"}),
        (errors.InvalidField, "judge", {"kind": "best_of", "copies": 2}),
        (errors.InvalidField, "cannot be a task of type 'http'", {
            "kind": "best_of", "copies": 2, "judge": {"task_type": "http", "payload": {"url": "http://x/"}}}),
        (errors.InvalidField, "cannot have approval", {
            "kind": "best_of", "copies": 2, "judge": {"prompt": "x", "approval": "required"}}),
        (errors.InvalidField, "judge", {"kind": "race", "copies": 2, "judge": "x"}),
        (errors.InvalidField, "^judge: .*must not be empty", {"kind": "best_of", "copies": 2, "judge": ""}),
        (errors.InvalidField, "needed and agree", {"kind": "race", "copies": 2, "agree": True}),
        (errors.UnknownChoice, "duel", {"kind": "duel", "copies": 2}),
        (errors.PoolNotFound, "nowhere", {"kind": "race", "pools": ["here", "nowhere"]}),
        (errors.UnknownChoice, "Unknown reducer 'none'", {
            "kind": "best_of", "copies": 2, "judge": {"task_type": "reduce:none", "payload": {}}}),
    ]  # fmt: skip

    for error, text, how in cases:
        with pytest.raises(error, match=text):
            await client.start_contest(tasks=shell("true"), **how)

    with pytest.raises(errors.InvalidField, match="after"):
        await client.race([shell("true"), shell("true", after=["task_x"])])
    with pytest.raises(errors.InvalidField, match="differs"):
        await client.race([shell("true", idempotency_key="a"), shell("true", idempotency_key="b")])
    sent = await client.submit(shell("true"), batch_id="plain")
    with pytest.raises(errors.InvalidField, match="is no race"):
        await client.contest("plain")
    with pytest.raises(errors.BatchNotFound):
        await client.contest("none")
    assert crowd.outcome(sent.task_id, within=30).ok
    assert len(list(crowd.redis.scan_iter("mhv:task:*", count=1000))) == before + 1


def test_races_on_the_command_line(cli: Cli, pool: str) -> None:
    work = ("--pool", pool, "--copies", "2")

    won = cli.json("pools", "race", "--prompt", "echo one", "--prompt", "sleep 100", *work)
    assert (won["status"], won["kind"], won["output"], len(won["candidates"])) == ("won", "race", "one\n", 4)
    shown = cli("pools", "quorum", "--needed", "2", "--agree", "--prompt", "echo SAME", *work)
    assert "The quorum is decided" in shown
    assert "SAME" in shown
    best = cli.json("pools", "best-of", "--prompt", "echo a", "--judge", 'echo {\\"winner\\": 1}', *work)
    assert (best["status"], best["winner"], best["judge"]["status"]) == ("won", 1, "completed")
    told = cli.json("pools", "task", "--batch", best["batch_id"])["contest"]
    assert (told["winners"], told["decided_at"]) == ([best["candidates"][1]["task_id"]], best["judge"]["finished_at"])
    assert f"Winner: {told['winners'][0]}" in cli("pools", "task", "--batch", best["batch_id"])
    lost = cli("pools", "race", "--prompt", "exit 1", *work, code=1)
    assert "has no winner" in lost
    sent = cli.json("pools", "race", "--prompt", "sleep 100", *work, "--no-wait")
    assert (sent["kind"], sent["total"], sent["new"]) == ("race", 2, True)
    cli("pools", "cancel", "--batch", sent["batch_id"])
    told = eventually(
        lambda: cli.json("pools", "task", "--batch", sent["batch_id"]), until=lambda one: one["failed"] == 2, within=30
    )
    assert told["contest"]["reason"] == "No candidate succeeded."
    assert "Kind" in cli("pools", "task", "--batch", won["batch_id"])
    assert "The race is decided" in cli("pools", "task", "--batch", won["batch_id"], "--follow")
    cli("pools", "race", "--prompt", "sleep 100", *work, "--wait-timeout", "0.1", code=5)
    (batch_id,) = re.findall(r"pools task --batch (\S+)", cli.err)
    cli("pools", "cancel", "--batch", batch_id)
    late = cli.json("pools", "race", "--prompt", "sleep 100", *work, "--deadline", "0.5", code=1)
    assert (late["status"], late["deadline"]) == ("failed", 0.5)
    assert late["reason"] == "Nobody had won when its time was over (deadline: 0.5 s)."
    assert "Deadline: 0.5 s" in cli("pools", "task", "--batch", late["batch_id"])
    keyed = ("pools", "race", "--prompt", "echo one", "--idempotency-key", f"race-{pool}", *work)
    assert [cli.json(*keyed)["new"] for _ in range(2)] == [True, False]
    assert "Submitted: before, with this idempotency key" in cli(*keyed)
    for wrong in (["race"], ["quorum"], ["best-of", "--prompt", "x", *work], ["race", "--prompt", "x"]):
        cli("pools", *wrong, code=2)


async def test_mcp_clients_have_contests(server: str) -> None:
    async with McpClient(server) as mcp:
        won = await mcp.call("pool_race", {"tasks": [{"prompt": "fail"}, {"prompt": "b"}], "pools": ["local"]})
        same = await mcp.call("pool_quorum", {"tasks": [{"prompt": "b"}], "copies": 3, "needed": 2, "agree": True})
        best = {"tasks": [{"prompt": "fail"}], "copies": 2, "judge": {"prompt": "which?"}}
        lost = await mcp.call("pool_best_of", best)
        told = await mcp.call("pool_task", {"batch_id": won.value["batch_id"]})
        going = await mcp.call(
            "pool_race", {"tasks": [{"prompt": "hold"}], "copies": 2, "wait_seconds": 0, "deadline": 60}
        )
        wrong = await mcp.call("pool_best_of", {**best, "judge": {"prompt": "a", "reducer": "b"}})

    assert (won.value["status"], won.value["winner"], won.value["output"], won.value["ended"]) == ("won", 1, "b", True)
    assert "Candidate 1 won" in won.text
    assert (same.value["status"], len(same.value["winners"])) == ("won", 2)
    assert (lost.value["status"], lost.value["judge"]["error"]) == ("failed", "No candidate has an answer to judge.")
    assert told.value["batch"]["contest"]["winners"] == [won.value["candidates"][1]["task_id"]]
    assert (going.value["status"], going.value["ended"], going.value["deadline"]) == ("open", False, 60)
    assert (wrong.failed, wrong.value["error"]["code"]) == (True, "invalid_field")
