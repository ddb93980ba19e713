"""How claims of users' Celery tasks end, whatever Celery says or does not say; and how a claim of ours is run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from mahavishnu_pools.schemas.task import Outcome, TaskSpec
from mahavishnu_pools.store import leases
from mahavishnu_pools.store.calls import Call
from mahavishnu_pools.store.leases import Claim, Held
from workers import runner as runner_module
from workers.celery_tasks import CeleryTasks
from workers.claims import ClaimTable, Running
from workers.events import TaskEvents
from workers.executors import registry
from workers.executors.interface import Limits
from workers.outcome import DEFAULT_RETRIES
from workers.runner import GroupContext, TaskRunner, read_body


def _running(task_id: str = "t", *, attempt: int = 1) -> Running:
    return Running(Held("lease", "1", task_id, "pool_1"), Claim("1", attempt, task_id, "{}"))


class Ends:
    """What was sent to the store."""

    def __init__(self) -> None:
        self.calls: list[Call[Any]] = []

    def __call__(self, held: Held, call: Call[Any]) -> None:
        self.calls.append(call)

    @property
    def kinds(self) -> list[tuple[str, str]]:
        """Return action and status of each."""
        return [(str(call.arguments[5]), str(call.arguments[6])) for call in self.calls]


class Consumer:
    """Stands for Celery's: takes messages and does nothing with them, as when a rate limit holds them back."""

    def __init__(self, *, limited: bool) -> None:
        self.task_buckets = {"x": object() if limited else None}
        self.task_consumer = self
        self.messages: list[Any] = []

    def on_message(self, message: Any) -> None:
        self.messages.append(message)


class Hub:
    def __init__(self) -> None:
        self.callbacks: list[Any] = []

    def add_reader(self, fd: int, callback: Any) -> None:
        self.callbacks.append(callback)


MESSAGE = {
    "body": "W10=",
    "content-type": "application/json",
    "content-encoding": "utf-8",
    "headers": {"id": "t", "task": "x"},
    "properties": {"body_encoding": "base64"},
}


class Setting:
    def __init__(self) -> None:
        self.table, self.ends, self.hub = ClaimTable(), Ends(), Hub()
        self.tasks = CeleryTasks(self.table, pool_id="pool_1", result_ttl=60, end=self.ends)

    def take(self, *, limited: bool = True, attempt: int = 1) -> Consumer:
        """Hand one claim to a consumer."""
        running = _running(attempt=attempt)
        self.table.add(running)
        consumer = Consumer(limited=limited)
        self.tasks.register(consumer, self.hub)
        self.tasks.take(running, MESSAGE)
        self.hub.callbacks[-1]()
        return consumer


@pytest.fixture
def setting() -> Iterator[Setting]:
    found = Setting()
    yield found
    found.tasks.close()


@pytest.mark.parametrize(
    ("state", "attempt", "end"),
    [
        ("SUCCESS", 1, ("outcome", "completed")),
        ("FAILURE", 1, ("outcome", "failed")),
        ("REVOKED", 1, ("outcome", "cancelled")),
        ("RETRY", 1, ("release", "failed")),
        ("IGNORED", 1, ("release", "completed")),
        (None, 1, ("retry", "")),
        (None, DEFAULT_RETRIES + 1, ("outcome", "failed")),
    ],
)
def test_a_claim_ends_once_when_its_job_is_through(
    setting: Setting, state: str | None, attempt: int, end: tuple[str, str]
) -> None:
    """Point 5: at least once; a job that Celery broke off (no state) runs again, but not for ever."""
    setting.take(attempt=attempt)
    setting.tasks.applied("t")
    if state:
        setting.tasks.postrun("t", state=state, value=ValueError("x") if state == "FAILURE" else 1)

    setting.tasks.job_done("t")
    setting.tasks.job_done("t")

    assert setting.ends.kinds == [end]


def test_the_end_a_task_asked_for_waits_until_its_job_is_through(setting: Setting) -> None:
    """Sent earlier, the task could be claimed again before, and the late job would end that claim."""
    held = _running().held
    consumer = setting.take()
    setting.tasks.applied("t")
    setting.tasks.end_with("t", leases.hand_back(held, result_ttl=60))
    consumer.messages[0].reject(requeue=True)
    setting.tasks.postrun("t", state="IGNORED", value=None)
    assert setting.ends.kinds == []

    setting.tasks.job_done("t")

    assert setting.ends.kinds == [("handback", "")]


def test_what_a_lost_event_loop_held_back_is_handed_over_again_and_what_runs_is_not(setting: Setting) -> None:
    """Point 2: Celery forgets its buckets with the connection."""
    first = setting.take()
    assert len(first.messages) == 1
    again = Consumer(limited=True)
    setting.tasks.register(again, setting.hub)
    setting.hub.callbacks[-1]()
    assert len(again.messages) == 1

    setting.tasks.applied("t")
    third = Consumer(limited=True)
    setting.tasks.register(third, setting.hub)
    setting.hub.callbacks[-1]()

    assert third.messages == []


def test_a_message_that_celery_swallows_is_a_dead_letter(setting: Setting) -> None:
    setting.take(limited=False)

    assert setting.ends.kinds == [("outcome", "dead")]


def test_a_claim_that_was_lost_meanwhile_is_not_handed_over(setting: Setting) -> None:
    consumer = Consumer(limited=True)
    setting.tasks.register(consumer, setting.hub)
    setting.tasks.take(_running(), MESSAGE)

    setting.hub.callbacks[-1]()

    assert consumer.messages == []


class Logs:
    def sink(self, task_id: str) -> Logs:
        return self

    def write(self, stream: str, data: bytes) -> None:
        pass

    def finish(self, task_id: str) -> None:
        pass


@pytest.fixture
def ends() -> Ends:
    return Ends()


@pytest.fixture
def runner(ends: Ends) -> TaskRunner:
    context = GroupContext("pool_1", "n", "shell", dict(os.environ), None, (), Limits(), (), 60.0)
    events = TaskEvents(hostname="h", pool_id="pool_1")
    return TaskRunner(context, logs=Logs(), events=events, end=ends)  # type: ignore[arg-type]


def _executes(monkeypatch: pytest.MonkeyPatch, outcome: Outcome | Exception) -> None:
    def execute(context: Any) -> Outcome:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(registry, "execute", execute)


SPEC = TaskSpec(prompt="x").model_dump(mode="json")


def test_a_specification_nobody_can_read_has_failed(runner: TaskRunner, ends: Ends) -> None:
    runner.run(_running(), {"task_type": 5})

    assert ends.kinds == [("outcome", "failed")]
    assert "cannot be read" in json.loads(str(ends.calls[0].arguments[7]))["error"]


def test_a_fault_of_an_executor_costs_its_task_only(
    runner: TaskRunner, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    _executes(monkeypatch, RuntimeError("bug"))

    runner.run(_running(), SPEC)

    assert ends.kinds == [("outcome", "failed")]
    assert "RuntimeError: bug" in str(ends.calls[0].arguments[7])


def test_what_a_stopping_group_ended_goes_back_and_what_was_cancelled_does_not(
    runner: TaskRunner, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    _executes(monkeypatch, Outcome(status="cancelled", error="Ended."))
    ended, asked = _running(), _running("asked")
    asked.reason = "It was revoked."
    ended.hand_back = asked.hand_back = True

    runner.run(ended, SPEC)
    runner.run(asked, SPEC)

    assert ends.kinds == [("handback", ""), ("outcome", "cancelled")]


def test_a_curable_failure_is_tried_again(runner: TaskRunner, ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    _executes(monkeypatch, Outcome(status="failed", error="Busy.", retryable="overload"))

    runner.run(_running(), SPEC)

    assert ends.kinds == [("retry", "")]


def test_the_wait_for_a_worker_is_told_apart_from_the_run(
    runner: TaskRunner, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    _executes(monkeypatch, Outcome(status="completed"))
    running = _running()
    running.asked_at -= 1000.0

    runner.run(running, SPEC)

    waited, ran = map(float, str(ends.calls[0].arguments[9]).split())
    assert waited >= 1000.0 > ran


@pytest.mark.parametrize(
    ("body", "headers", "followed"),
    [
        ([[{"a": 1}], {}, {"chord": None, "chain": None}], {}, False),
        ([[{"a": 1}], {}, None], {}, False),
        ([[{"a": 1}], {}, {"chord": {"task": "x"}}], {}, True),
        ([[], {"spec": {"a": 1}}, {}], {"group": "g"}, True),
    ],
)
def test_a_body_tells_its_specification_and_whether_something_follows(
    body: list[Any], headers: dict[str, Any], followed: bool
) -> None:
    """Point 4: what is followed by something is Celery's, so that Celery does what follows."""
    found = read_body({"body": json.dumps(body), "headers": headers, "properties": {}})

    assert (found.spec, found.followed) == ({"a": 1}, followed)
    assert runner_module.is_run_task({"headers": {"task": "mahavishnu.run_task"}})
