"""A delegated task whose instance is of another version, says rubbish, stays away, or does not hear of a cancel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.mcp_client import ToolAnswer
from mahavishnu_pools.schemas.task import Outcome, TaskSpec
from mahavishnu_pools.store.delegated import Whereabouts
from mahavishnu_pools.store.logs import LogPiece
from tests.waiting import eventually_async
from workers.executors import far_course
from workers.executors.delegated_task import Origin
from workers.executors.far_contact import Contact, Job
from workers.executors.far_course import FarCourse
from workers.executors.far_instance import NEEDED_TOOLS, FarInstance, Look, PoolChoice
from workers.executors.remote_pool import Endpoint

#: What an instance knows of tasks.
TAKES = ("prompt", "idempotency_key", "metadata")

#: What a tool is asked and what it answers; an exception is raised.
Tools = Mapping[str, Callable[[Mapping[str, Any]], Any]]

TASK = {"status": "completed", "output": "out\n", "attempts": 1}


class ScriptedClient:
    """Stands for the MCP client of an instance."""

    def __init__(self, tools: Tools, takes: Sequence[str]) -> None:
        self._tools, self._takes = tools, takes
        self.calls: list[str] = []

    async def tools(self) -> Mapping[str, Mapping[str, Any]]:
        return {name: {"properties": {key: {} for key in self._takes}} for name in self._tools}

    async def call(self, tool: str, arguments: Mapping[str, Any], *, timeout: float = 0) -> ToolAnswer:  # noqa: ASYNC109 - as the client's
        self.calls.append(tool)
        found = self._tools[tool](arguments)
        if isinstance(found, asyncio.Event):
            await found.wait()
        if isinstance(found, Exception):
            raise found
        failed = isinstance(found, dict) and "error" in found
        return ToolAnswer(text="", value=found, failed=failed)


class Memory:
    """A ledger that knows this of the log."""

    def __init__(self, log: Sequence[LogPiece] | None = ()) -> None:
        self._log = log
        self.notes: dict[str, Whereabouts | None] = {}

    def note(self, task_id: str, where: Whereabouts | None) -> None:
        self.notes[task_id] = where

    def noted(self) -> Mapping[str, Whereabouts]:
        return {task_id: where for task_id, where in self.notes.items() if where}

    def ended(self, task_ids: Sequence[str]) -> Sequence[str]:
        return ()

    def log(self, task_id: str) -> Sequence[LogPiece] | None:
        return self._log


def instance(tools: Tools) -> FarInstance:
    made = FarInstance(Endpoint("http://far/mcp"), PoolChoice("work"))
    made._client = made._following = ScriptedClient(tools, TAKES)  # type: ignore[assignment]
    made._takes = frozenset(TAKES)
    return made


def following(*answers: Any) -> Callable[[Mapping[str, Any]], Any]:
    """Return what a tool says one after the other; the last answer is for ever."""
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def news(*pieces: tuple[str, str], task: Any = None) -> dict[str, Any]:
    return {"pieces": [{"stream": stream, "text": text} for stream, text in pieces], "after": "1-0", "task": task}


def usual(**tools: Any) -> Tools:
    accepted = {"task_id": "t", "pool_id": "p", "new": True}
    plain = {"pool_instance": {"instance_id": "i_far", "pools": 1}, "pool_submit": accepted, "pool_cancel": {}}
    ready = {name: (lambda _, answer=answer: answer) for name, answer in plain.items()}
    return {**ready, "pool_follow": following(news(task=TASK)), **tools}


class Attempt:
    """One attempt of a task on an instance that can be used."""

    def __init__(self, tools: Tools, *, log: Sequence[LogPiece] | None = (), patience: float = 30.0) -> None:
        self.written: list[tuple[str, str]] = []
        self.contact = Contact(instance(tools))
        self.contact.found(Look("i_far", None))
        origin = Origin("i_here", "pool_1", "task_1")
        self.job = Job(TaskSpec(prompt="x"), origin, self._write, patience=patience, grace=0.0)
        self.memory = Memory(log)

    def _write(self, stream: str, text: str) -> None:
        self.written.append((stream, text))

    async def run(self) -> Outcome:
        return await FarCourse(self.contact, self.job, self.memory).run()


@pytest.mark.parametrize("gone", NEEDED_TOOLS)
async def test_a_tool_that_is_missing_is_named(gone: str) -> None:
    tools = {name: tool for name, tool in usual().items() if name != gone}

    with pytest.raises(errors.RemoteRefused, match=f"has no tool {gone}. .* older version"):
        await instance(tools).look()


async def test_an_option_that_an_older_server_does_not_know_is_named_and_the_task_is_not_sent() -> None:
    attempt = Attempt(usual())
    attempt.job.spec = TaskSpec(prompt="x", memory=False, on_worker_lost="fail")

    outcome = await attempt.run()

    assert (outcome.status, outcome.final) == ("failed", True)
    assert "does not know: memory, on_worker_lost" in str(outcome.error)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"error": {"code": "pool_not_found", "message": "No pool 'work'."}}, "No pool 'work'"),
        ({"instance_id": "i_far", "pools": 0}, "does not have the pool 'work'"),
    ],
)
async def test_an_instance_without_the_pool_takes_no_tasks_but_those_there_are_followed(answer: Any, said: str) -> None:
    tools = usual(pool_instance=following(answer, {"instance_id": "i_far", "pools": 0}))
    contact = Contact(instance(tools))

    found = await contact.far.look()
    contact.found(found)

    assert said in str(found.trouble)
    assert (found.instance, contact.made.is_set(), contact.open.is_set()) == ("i_far", True, False)


@pytest.mark.parametrize("rubbish", [{}, {"pieces": 5, "after": "1-0", "task": None}, {"pieces": [5]}, []])
async def test_after_rubbish_and_lost_answers_the_same_task_is_followed(rubbish: Any) -> None:
    lost = errors.RemoteUnavailable("gone", maybe_ran=True)
    tools = usual(
        pool_submit=following(lost, rubbish, {"task_id": "t", "pool_id": "p", "new": False}),
        pool_follow=following(rubbish, lost, news(("stdout", "out\n")), news(task=TASK)),
    )
    attempt = Attempt(tools)
    healing = asyncio.create_task(_heal(attempt.contact))

    outcome = await attempt.run()

    healing.cancel()
    assert (outcome.status, outcome.output, outcome.final) == ("completed", "out\n", True)
    assert attempt.written == [("system", "Delegated to http://far/mcp as task t.\n"), ("stdout", "out\n")]
    assert attempt.memory.notes == {"task_1": None}


async def test_output_of_which_not_all_is_known_goes_on_with_what_is_new() -> None:
    tools = usual(
        pool_submit=following({"task_id": "t", "pool_id": "p", "new": False}),
        pool_follow=following(
            news(("stdout", "old")), news(("stdout", "older")), news(), news(("stdout", "new"), task=TASK)
        ),
    )
    attempt = Attempt(tools, log=None)

    assert (await attempt.run()).status == "completed"
    assert attempt.written == [("stdout", "new")]


async def test_a_task_waits_for_an_instance_only_so_long_and_says_that_it_may_run_there() -> None:
    attempt = Attempt(usual(pool_follow=following(errors.RemoteUnavailable("gone"))), patience=0.05)

    outcome = await attempt.run()

    assert (outcome.status, outcome.retryable, outcome.final) == ("failed", "connection", False)
    assert outcome.metadata["remote_may_still_run"] is True
    assert attempt.memory.noted() == {"task_1": Whereabouts("i_far", "t")}


@pytest.mark.parametrize("keep", [False, True])
async def test_a_cancel_that_cannot_be_told_says_so_and_one_who_leaves_tells_nothing(
    keep: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(far_course, "CANCEL_MARGIN", 0.05)
    waiting = asyncio.Event()
    tools = usual(pool_follow=following(waiting), pool_cancel=following(errors.RemoteUnavailable("gone")))
    attempt = Attempt(tools)
    client: Any = attempt.contact.far._client
    running = asyncio.create_task(attempt.run())
    await eventually_async(lambda: _async("pool_follow" in client.calls))
    attempt.job.keep = keep
    attempt.job.ending.set()

    outcome = await running

    assert outcome.status == "cancelled"
    assert outcome.metadata.get("remote_may_still_run", False) is not keep
    assert ("pool_cancel" in client.calls) is not keep
    assert attempt.memory.noted()


async def test_a_task_that_is_unknown_there_was_lost() -> None:
    unknown = {"error": {"code": "task_not_found", "message": "No task has the id t."}}
    attempt = Attempt(usual(pool_follow=following(unknown)))

    outcome = await attempt.run()

    assert (outcome.status, outcome.retryable, outcome.final) == ("failed", "connection", False)
    assert outcome.metadata["remote_lost"] is True


async def _heal(contact: Contact) -> None:
    while True:
        await contact.look.wait()
        contact.look.clear()
        contact.found(Look("i_far", None))


async def _async(value: bool) -> bool:
    return value
