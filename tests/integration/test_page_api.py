"""The page's JSON and streams over HTTP: what they tell, to whom, and how they end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.mcp_client import McpClient
from mahavishnu_pools.server.live.views import Overview, PoolView, TaskView
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store import logs
from tests.fakes.worker import FakeNode
from tests.fixtures.served import serving
from tests.waiting import eventually_async

TOKEN = {"Authorization": "Bearer t"}


@asynccontextmanager
async def client(url: str, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    base = url.removesuffix("/mcp")
    async with httpx.AsyncClient(base_url=base, headers=headers, timeout=60, trust_env=False) as found:
        yield found


async def frames(lines: AsyncIterator[str], wanted: str) -> AsyncIterator[tuple[str, Any]]:
    """Yield id and data of the events of a kind."""
    event = entry = ""
    async for line in lines:
        if line.startswith("event: "):
            event = line[7:]
        elif line.startswith("id: "):
            entry = line[4:]
        elif line.startswith("data: ") and event == wanted:
            yield entry, json.loads(line[6:])


async def test_views_are_what_they_are_documented_to_be(server: str, manager: PoolManager) -> None:
    held = await manager.submit({"prompt": "hold"}, pool="local")
    failed = await manager.execute_on_pool("local", {"prompt": "fail"})
    assert failed.error
    await eventually_async(
        lambda: manager.task(held.task_id), until=lambda task: task.status.value == "running", within=30
    )
    async with client(server) as http:
        overview = Overview.model_validate_json((await http.get("/api/overview")).content, extra="forbid")
        pool = PoolView.model_validate_json((await http.get("/api/pools/local")).content)
        task = TaskView.model_validate_json((await http.get(f"/api/tasks/{failed.task_id}")).content)
        missing = [await http.get("/api/tasks/none"), await http.get("/api/pools/none")]
        wrong = await http.get("/api/stream/nothing")

    assert [(row.name, row.workers, row.running, row.failed) for row in overview.pools] == [("local", 2, 1, 1)]
    assert [node.name for node in overview.nodes] == ["node1"]
    assert {"pool_created", "task_failed"} <= {event.type for event in overview.events}
    assert [one.task_id for one in pool.running] == [held.task_id]
    assert [one.task_id for one in pool.ended] == [failed.task_id]
    assert (task.pool, task.asked, task.error, task.exit_code) == ("local", "fail", failed.error, 1)
    assert [answer.status_code for answer in (*missing, wrong)] == [404, 404, 400]
    assert [answer.json()["error"]["code"] for answer in missing] == ["task_not_found", "pool_not_found"]


async def test_waiting_tasks_are_told_in_the_order_in_which_they_start(
    server: str, manager: PoolManager, node: FakeNode
) -> None:
    await manager.pause_pool("local")
    sent = [await manager.submit({"prompt": "x", "priority": priority}, pool="local") for priority in (5, 9, 5, 0)]
    async with client(server) as http:
        pool = PoolView.model_validate_json((await http.get("/api/pools/local")).content)

    assert [one.task_id for one in pool.waiting] == [sent[place].task_id for place in (1, 0, 2, 3)]
    assert pool.pool.waiting_since is not None


async def test_a_stream_begins_with_everything_and_goes_on_with_changes(server: str, manager: PoolManager) -> None:
    async with client(server) as http, http.stream("GET", "/api/stream/overview") as answer:
        events = frames(answer.aiter_lines(), "state")
        _, first = await anext(events)
        await manager.pause_pool("local")
        async for _, change in events:
            rows = change["rows"].get("pools", [])
            if rows and rows[0]["status"] == "paused":
                break

    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert first["full"]
    assert not change["full"]
    assert "nodes" not in change["rows"]


async def test_output_goes_on_behind_the_last_entry_also_from_another_server(
    quick_settings: Settings, node: FakeNode, manager: PoolManager
) -> None:
    await manager.spawn_pool("mahavishnu", name="local", min_workers=2, worker_type="shell")
    task = (await manager.submit({"prompt": "hold"}, pool="local")).task_id
    store = await manager.memory_store()

    async def prints(text: str) -> None:
        await store.run(logs.write_log(task, [("stdout", text)], ttl=60))

    async def read(http: httpx.AsyncClient, **headers: str) -> tuple[str, str]:
        async with http.stream("GET", f"/api/stream/tasks/{task}", headers=headers) as answer:
            entry, pieces = await anext(frames(answer.aiter_lines(), "log"))
        return entry, "".join(piece["text"] for piece in pieces)

    await prints("one\n")
    async with serving(quick_settings) as url, client(url) as http:
        entry, first = await read(http)
        await prints("two\n")
        _, behind = await read(http, **{"Last-Event-ID": entry})
    async with serving(quick_settings) as url, client(url) as http:
        _, elsewhere = await read(http, **{"Last-Event-ID": entry})
        _, rubbish = await read(http, **{"Last-Event-ID": "-1"})

    assert (first, behind, elsewhere, rubbish) == ("one\n", "two\n", "two\n", "one\ntwo\n")


async def test_with_a_token_the_page_opens_and_what_it_shows_needs_it(quick_settings: Settings) -> None:
    paths = ["/", "/api/overview", "/api/pools/x", "/api/stream/overview", "/api/tasks/x"]
    async with serving(quick_settings, tokens=("t",)) as url, client(url) as http:
        without = [(await http.get(path)).status_code for path in paths]
        act = (await http.post("/api/actions/cancel/x")).status_code
        overview = await http.get("/api/overview", headers=TOKEN)
        foreign = await http.get("/api/overview", headers={**TOKEN, "Origin": "https://evil.example"})

    assert without == [200, 401, 401, 401, 401]
    assert (act, overview.status_code, foreign.status_code) == (401, 200, 403)
    assert overview.json()["actions"]


async def test_actions_need_a_configured_token(server: str, manager: PoolManager) -> None:
    task = (await manager.submit({"prompt": "hold"}, pool="local")).task_id
    async with client(server) as http:
        refused = await http.post(f"/api/actions/cancel/{task}")

    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "actions_off")


async def test_with_the_token_tasks_are_cancelled_and_retried_and_pools_paused(
    quick_settings: Settings, node: FakeNode, manager: PoolManager
) -> None:
    await manager.spawn_pool("mahavishnu", name="local", min_workers=2, worker_type="shell")
    task = (await manager.submit({"prompt": "hold"}, pool="local")).task_id
    failed = (await manager.submit({"prompt": "fail"}, pool="local")).task_id
    await manager.result(failed, wait_timeout=30)
    async with serving(quick_settings, tokens=("t",)) as url, client(url, **TOKEN) as http:
        paused = await http.post("/api/actions/pause/local")
        resumed = await http.post("/api/actions/resume/local")
        again = await http.post(f"/api/actions/retry/{failed}")
        wrong = [await http.post(f"/api/actions/{what}") for what in ("retry/none", "close/local", f"retry/{task}")]
        cancelled = await http.post(f"/api/actions/cancel/{task}")
        reading = await http.get(f"/api/actions/cancel/{task}")

    assert (paused.json(), resumed.json()) == ({"status": "paused"}, {"status": "running"})
    assert (await manager.result(again.json()["task_id"], wait_timeout=30)).status.value == "failed"
    assert cancelled.status_code == 200
    assert (await manager.result(task, wait_timeout=30)).status.value == "cancelled"
    assert [answer.status_code for answer in wrong] == [404, 400, 400]
    assert reading.status_code == 405


async def test_what_awaits_approval_is_told_and_decided_with_a_reason(
    quick_settings: Settings, node: FakeNode, manager: PoolManager
) -> None:
    await manager.spawn_pool("mahavishnu", name="local", min_workers=2, worker_type="shell")
    gated = {"prompt": "x", "approval": "required"}
    ids = [(await manager.submit({**gated, "approval_timeout": 60 + n}, pool="local")).task_id for n in range(52)]
    async with serving(quick_settings, tokens=("t",)) as url, client(url, **TOKEN) as http:
        before = Overview.model_validate_json((await http.get("/api/overview")).content)
        held = TaskView.model_validate_json((await http.get(f"/api/tasks/{ids[0]}")).content)
        said = {"reason": "looks good", "by": "ana"}
        answers = [
            await http.post(f"/api/actions/approve/{ids[0]}", json=said),
            await http.post(f"/api/actions/refuse/{ids[1]}"),
            await http.post(f"/api/actions/refuse/{ids[0]}"),
            await http.post(f"/api/actions/approve/{ids[2]}", content=b'{"reason": 1}'),
            await http.post(f"/api/actions/approve/{ids[2]}", content=b" " * 20_000),
            await http.post("/api/actions/approve/none"),
        ]
        foreign = await http.post(f"/api/actions/approve/{ids[2]}", headers={"Origin": "https://evil.example"})
        after = Overview.model_validate_json((await http.get("/api/overview")).content)
        refused = TaskView.model_validate_json((await http.get(f"/api/tasks/{ids[1]}")).content)

    assert (before.awaiting_total, [one.task_id for one in before.awaiting]) == (52, ids[:50])
    assert held.approval is not None
    assert held.approval.expires_at is not None
    assert before.awaiting[0].ends == pytest.approx(held.approval.expires_at.timestamp())
    assert [answer.status_code for answer in (*answers, foreign)] == [200, 200, 400, 400, 400, 404, 403]
    assert (answers[0].json()["decision"], answers[0].json()["by"]) == ("approved", "ana")
    assert answers[2].json()["error"]["code"] == "already_decided"
    assert (after.awaiting_total, [one.task_id for one in after.awaiting]) == (50, ids[2:])
    assert refused.approval is not None
    assert (refused.approval.decision, refused.approval.by) == ("refused", "somebody on the page")
    assert (await manager.result(ids[0], wait_timeout=30)).ok


async def test_a_task_tells_what_it_comes_after_and_how_its_contest_stands(
    quick_settings: Settings, server: str, manager: PoolManager, node: FakeNode
) -> None:
    held = (await manager.submit({"prompt": "hold", "name": "first"}, pool="local")).task_id
    later = (await manager.submit({"prompt": "x", "after": [held], "on_parent_failure": "run"}, pool="local")).task_id
    started = await manager.start_contest("best_of", [{"prompt": "fail"}, {"prompt": "good"}], judge="which?")
    (bad, good), judge_id = started.task_ids, started.judge_id

    async def view(task_id: str) -> TaskView:
        async with client(server) as http:
            return TaskView.model_validate_json((await http.get(f"/api/tasks/{task_id}")).content)

    waiting, first = await view(later), await view(held)
    assert waiting.relatives is not None
    assert [(one.task_id, one.name, one.status) for one in waiting.relatives.parents] == [(held, "first", "running")]
    assert first.relatives is not None
    assert [(one.task_id, one.status) for one in first.relatives.children] == [(later, "waiting")]
    assert judge_id is not None
    await manager.result(judge_id, wait_timeout=30)
    parts = [(await view(one)).contest for one in (bad, good, judge_id)]

    assert waiting.after is not None
    assert (waiting.after.total, waiting.after.waits, waiting.after.on_parent_failure) == (1, 1, "run")
    assert [(one.task_id, one.status) for one in waiting.after.parents] == [(held, None)]
    assert [part and (part.kind.value, part.role) for part in parts] == [
        ("best_of", "candidate"),
        ("best_of", "candidate"),
        ("best_of", "judge"),
    ]
    assert {part and part.judge_id for part in parts} == {judge_id}
    race = await manager.start_contest("race", {"prompt": "good"}, copies=2)
    await manager.contest(race.batch_id, wait_timeout=30)
    won = (await view(race.task_ids[0])).contest
    assert won is not None
    assert (won.status, won.winners) == ("won", (won.winners[0],))
    assert (await view(held)).contest is None


async def test_without_a_token_only_this_machine_by_its_own_names_is_answered(server: str) -> None:
    port = server.removesuffix("/mcp").rpartition(":")[2]
    hosts = [f"127.0.0.1:{port}", "localhost", f"[::1]:{port}", "evil.example", f"127.0.0.1.evil.example:{port}", "["]
    async with client(server) as http:
        answers = [(await http.get("/api/overview", headers={"Host": host})).status_code for host in hosts]
        sites = ("same-origin", "none", "same-site", "cross-site")
        asked = [await http.get("/api/overview", headers={"Sec-Fetch-Site": site}) for site in sites]

    assert answers == [200, 200, 200, 400, 400, 400]
    assert [answer.status_code for answer in asked] == [200, 200, 400, 400]


async def test_the_page_lets_a_browser_run_nothing_but_its_own(server: str) -> None:
    async with client(server) as http:
        answer = await http.get("/")

    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"].startswith("'sha256-")
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert (answer.headers["x-frame-options"], answer.headers["referrer-policy"]) == ("DENY", "no-referrer")
    assert len(answer.content) < 76_000
    assert not any(word in answer.text for word in ("innerHTML", "outerHTML", "document.write", "eval(", ' src="http'))


async def test_a_server_that_stops_does_not_wait_for_open_pages(quick_settings: Settings) -> None:
    async with (
        asyncio.timeout(60),
        serving(quick_settings) as url,
        client(url) as http,
        http.stream("GET", "/api/stream/overview") as answer,
    ):
        lines = answer.aiter_lines()
        assert await anext(lines) == ": hello"
        os.kill(os.getpid(), signal.SIGTERM)
        # Without an end of the stream this would go on until the time is over.
        assert [line async for line in lines if line.startswith("retry")] == []


@pytest.mark.parametrize("text", ["\udcff bytes that are no text", "line \u2028 end", "\x00"])
async def test_whatever_a_task_prints_reaches_the_page(server: str, manager: PoolManager, text: str) -> None:
    task = (await manager.submit({"prompt": "hold"}, pool="local")).task_id
    store = await manager.memory_store()
    await store.run(logs.write_log(task, [("stdout", text)], ttl=60))
    async with client(server) as http, http.stream("GET", f"/api/stream/tasks/{task}") as answer:
        _, pieces = await anext(frames(answer.aiter_lines(), "log"))

    assert pieces[0]["text"].strip() == text.strip()


async def test_half_characters_in_a_task_or_its_outcome_break_no_answer(
    server: str, manager: PoolManager, node: FakeNode
) -> None:
    await manager.execute_on_pool("local", {"prompt": "fail"})
    task = (await manager.submit({"task_type": "shell", "payload": {"command": "echo \udcff"}}, pool="local")).task_id
    async with client(server) as http:
        found = [await http.get(path) for path in (f"/api/tasks/{task}", "/api/pools/local", "/api/overview")]
    async with McpClient(server) as mcp:
        listed = await mcp.call("pool_tasks", {})
        shown = await mcp.call("pool_task", {"task_id": task})

    assert [answer.status_code for answer in found] == [200] * 3
    assert "echo \ufffd" in found[0].json()["asked"]
    assert task in [one["task_id"] for one in listed.value["tasks"]]
    assert shown.value["task"]["task_id"] == task
