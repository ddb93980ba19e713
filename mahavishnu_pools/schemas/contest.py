"""Values about contests: tasks of which not every answer is needed (race, quorum, best of n)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import JsonValue

from mahavishnu_pools.schemas.approval import moment_of
from mahavishnu_pools.schemas.base import MappingValue
from mahavishnu_pools.schemas.task import TaskResult


class ContestKind(StrEnum):
    """How the candidates of a contest become one answer."""

    RACE = "race"
    QUORUM = "quorum"
    BEST_OF = "best_of"


class Contest(MappingValue):
    """What a batch that is a contest says of itself.

    ``needed`` successes decide it (None: the task ``judge_id`` does), with ``agree`` equal ones. ``winners`` are task
    ids, in the order of their outcomes; without any once it is ``decided_at``, it failed. ``reason`` says how it was
    decided. Where a judge decides, a batch's record has none of the last three (``with_verdict``), unless its time was
    over before: ``deadline`` is the seconds it may take (None: as long as its tasks).
    """

    kind: ContestKind
    needed: int | None = None
    agree: bool = False
    deadline: float | None = None
    judge_id: str | None = None
    decided_at: datetime | None = None
    winners: tuple[str, ...] = ()
    reason: str | None = None

    @classmethod
    def of_batch(cls, record: Mapping[str, str]) -> Contest | None:
        """Return what a batch's record says; None when it is no contest."""
        if "contest" not in record:
            return None
        return cls.model_validate(
            {
                **json.loads(record["contest"]),
                "judge_id": record.get("follower"),
                "decided_at": moment_of(record.get("decided")),
                "winners": tuple(record.get("winners", "").split()),
                "reason": record.get("why"),
            }
        )


class ContestResult(MappingValue):
    """How a contest stands: ``won``, ``failed`` (it has no winner and cannot have one), or ``open``.

    ``candidates`` are all tasks in input order, whatever became of them; the first of ``winners`` (their places in it,
    from 0) is the ``winner``, and ``output`` and ``value`` are its answer. ``reason`` says why it won, or why nobody
    did. ``judge`` is the task that judges the answers of ``best_of``. ``deadline`` is the seconds it may take from its
    submission on (None: as long as its tasks).
    """

    batch_id: str
    kind: ContestKind
    status: Literal["open", "won", "failed"]
    winner: int | None = None
    winners: tuple[int, ...] = ()
    reason: str | None = None
    output: str | None = None
    value: JsonValue = None
    needed: int | None = None
    agree: bool = False
    deadline: float | None = None
    candidates: tuple[TaskResult, ...]
    judge: TaskResult | None = None

    @property
    def ok(self) -> bool:
        """Tell whether there is a winner."""
        return self.status == "won"

    @property
    def answer(self) -> TaskResult | None:
        """Return the winner's result, None without one."""
        return None if self.winner is None else self.candidates[self.winner]


class Verdict(MappingValue):
    """What a judge says: the place of the best answer among the candidates, from 0, and why."""

    winner: int
    reason: str | None = None


def result_of(
    batch_id: str, contest: Contest, candidates: Sequence[TaskResult], judge: TaskResult | None
) -> ContestResult:
    """Return how a contest stands, of what is known of its tasks."""
    places = {one.task_id: place for place, one in enumerate(candidates)}
    winners = tuple(places[one] for one in contest.winners if one in places)
    reason, decided = contest.reason, contest.decided_at is not None
    if judge is not None and judge.done and not decided:
        winners, reason = _judged(judge, candidates)
        decided = True
    best = candidates[winners[0]] if winners else None
    return ContestResult(
        batch_id=batch_id,
        kind=contest.kind,
        status="won" if best else "failed" if decided else "open",
        winner=winners[0] if winners else None,
        winners=winners,
        reason=reason,
        output=best.output if best else None,
        value=best.value if best else None,
        needed=contest.needed,
        agree=contest.agree,
        deadline=contest.deadline,
        candidates=tuple(candidates),
        judge=judge,
    )


def with_verdict(contest: Contest, judge: TaskResult, candidates: Sequence[TaskResult]) -> Contest:
    """Return a contest with what its judge decided; as it is while that has no outcome, or was too late."""
    if not judge.done or contest.decided_at is not None:
        return contest
    winners, reason = _judged(judge, candidates)
    named = tuple(candidates[place].task_id for place in winners)
    return contest.model_copy(update={"decided_at": judge.finished_at, "winners": named, "reason": reason})


def verdict_of(said: JsonValue, candidates: Sequence[TaskResult]) -> Verdict | None:
    """Return the verdict in a judge's value: ``{"winner": 1, "reason": "…"}`` or only the number; None: it is none.

    Only a candidate that completed can win.
    """
    winner, reason = (said.get("winner"), said.get("reason")) if isinstance(said, dict) else (said, None)
    if isinstance(winner, bool) or not isinstance(winner, int) or not 0 <= winner < len(candidates):
        return None
    if not candidates[winner].ok:
        return None
    return Verdict(winner=winner, reason=reason if isinstance(reason, str) else None)


def _judged(judge: TaskResult, candidates: Sequence[TaskResult]) -> tuple[tuple[int, ...], str | None]:
    if not judge.ok:
        return (), f"It was not judged: {judge.error or judge.status.value}"
    verdict = verdict_of(judge.value, candidates)
    if verdict is None:
        return (), "Its judge named no candidate that has an answer."
    return (verdict.winner,), verdict.reason
