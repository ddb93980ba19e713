"""The kinds of tasks of a run: what each does, writes down, and may end as."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mahavishnu_pools.schemas.task import TaskSpec

#: A program that a fault kills by itself has failed; that is its outcome.
_PROGRAM = ("completed", "failed")

_START = 'echo "start $MAHAVISHNU_TASK_ID $MAHAVISHNU_ATTEMPT $(date +%s%N)" >> "$CHAOS"; '
_EFFECT = 'echo "effect $MAHAVISHNU_TASK_ID $MAHAVISHNU_ATTEMPT $(date +%s%N)" >> "$CHAOS"; '

#: The task sets this exit code to be run again, until it is the second attempt.
_AGAIN = "[ $MAHAVISHNU_ATTEMPT -gt 1 ] || exit 75; "


@dataclass(frozen=True, slots=True)
class Kind:
    """A task to submit, as a specification or as a user's Celery task (its name), and the outcomes it may have.

    ``cancel_after`` and ``countdown`` are in seconds; None means it is not cancelled.
    """

    expect: tuple[str, ...]
    spec: TaskSpec | None = None
    celery: str | None = None
    seconds: float = 0.0
    priority: int = 5
    countdown: float = 0.0
    cancel_after: float | None = None
    silent: bool = False
    once: bool = False

    @property
    def keyed(self) -> bool:
        """Tell whether it has an idempotency key, with which it is to be submitted twice."""
        return self.spec is not None and self.spec.idempotency_key is not None


@dataclass(frozen=True, slots=True)
class Kinds:
    """Makes tasks; ``web`` is the address of the server that requests go to."""

    rng: random.Random
    diary: Path
    web: str

    def ordinary(self, *, priority: int) -> Kind:
        """Return a command that works for a while."""
        return self._shell(f"{_START}sleep {self._seconds()}; {_EFFECT}", priority=priority)

    def any(self, task_id: str) -> Kind:
        """Return a task of any kind for pools without an app of a user."""
        makers: dict[Callable[[str], Kind], int] = {
            self._ordinary: 40,
            self._function: 12,
            self._request: 10,
            self._again: 8,
            self._cancelled: 16,
            self._analysis: 4,
            self._keyed: 4,
            self._once: 4,
            self._overdue: 2,
        }
        (maker,) = self.rng.choices(list(makers), weights=list(makers.values()))
        return maker(task_id)

    def celery(self) -> Kind:
        """Return one of the user's Celery tasks: at once, delayed, or retrying."""
        name = self.rng.choices(["chaos.work", "chaos.again"], weights=[4, 1])[0]
        countdown = self.rng.choice([0.0, 0.0, 1.0, 3.0])
        return Kind(
            ("completed",), celery=name, seconds=self._seconds(), priority=self._priority(), countdown=countdown
        )

    def _ordinary(self, task_id: str) -> Kind:
        return self.ordinary(priority=self._priority())

    def _function(self, task_id: str) -> Kind:
        payload = {"callable": "tests.chaos.payloads:write", "args": [self._seconds()]}
        return Kind(_PROGRAM, self._spec("python", payload))

    def _request(self, task_id: str) -> Kind:
        url = f"{self.web}?task={task_id}&seconds={self._seconds()}"
        return Kind(("completed",), self._spec("http", {"url": url}))

    def _again(self, task_id: str) -> Kind:
        return self._shell(_START + _AGAIN + _EFFECT, max_retries=100)

    def _analysis(self, task_id: str) -> Kind:
        spec = self._spec("analyze", {"file": str(self.diary.parent / "sample.py")})
        return Kind(_PROGRAM, spec, silent=True)

    def _keyed(self, task_id: str) -> Kind:
        return self._shell(f"{_START}sleep {self._seconds()}; {_EFFECT}", idempotency_key=f"key of {task_id}")

    def _once(self, task_id: str) -> Kind:
        made = self._shell(f"{_START}sleep {self._seconds()}; {_EFFECT}", on_worker_lost="fail")
        return replace(made, once=True)

    def _overdue(self, task_id: str) -> Kind:
        # A fault may kill the sleep alone: that is a failure, and not the end of it.
        made = self._shell(f"{_START}sleep 30 && {_EFFECT}", timeout=1)
        return replace(made, expect=("timeout", "failed"))

    def _cancelled(self, task_id: str) -> Kind:
        wanted = self.ordinary(priority=self.rng.choice([0, 9]))
        return replace(wanted, expect=(*_PROGRAM, "cancelled"), cancel_after=self.rng.choice([0.0, 0.5, 2.0]))

    def _shell(self, command: str, **fields: Any) -> Kind:
        return Kind(_PROGRAM, self._spec("shell", {"command": ["sh", "-c", command]}, **fields))

    def _spec(self, task_type: str, payload: dict[str, Any], **fields: Any) -> TaskSpec:
        usual = {"priority": self._priority(), "timeout": 60, "env": {"CHAOS": str(self.diary)}}
        return TaskSpec.model_validate({"task_type": task_type, "payload": payload, **usual, **fields})

    def _priority(self) -> int:
        return self.rng.randrange(10)

    def _seconds(self) -> float:
        return round(self.rng.choice([0.05, 0.2, 0.5, 1.0, 2.0]), 2)
