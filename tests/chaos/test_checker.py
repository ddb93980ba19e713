"""The checker sees each kind of fault in a history, and none in a good one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chaos.history import History, Line, Outcome, Planned, Window, doubled, lost, standstill, violations

GOOD = History(
    planned=(
        Planned("a", "p", lane="p/5"),
        Planned("b", "p", lane="p/5"),
        Planned("c", "p", cancelled="cancelled", attempt_then=0, expect=("cancelled",)),
        Planned("d", "p", not_before=0.9, twin="d"),
        Planned("e", "q", cancelled="asked", attempt_then=1, expect=("completed", "cancelled")),
        Planned("f", "q", silent=True),
        Planned("g", "q", once=True, expect=("completed", "failed")),
    ),
    lines=(
        Line("a", "start", 1, 1.0),
        Line("a", "effect", 1, 2.0),
        Line("b", "start", 1, 2.0),
        Line("b", "start", 2, 4.0),
        Line("b", "effect", 2, 5.0),
        Line("d", "start", 0, 1.0),
        Line("d", "effect", 0, 1.5),
        Line("e", "start", 1, 1.5),
        Line("g", "start", 1, 1.5),
    ),
    outcomes={
        "a": Outcome("completed", 2.1, 1),
        "b": Outcome("completed", 5.1, 2),
        "c": Outcome("cancelled", 0.5, 0),
        "d": Outcome("completed", 1.6, 1),
        "e": Outcome("cancelled", 1.9, 1),
        "f": Outcome("completed", 1.0, 1),
        "g": Outcome("failed", 2.0, 1),
    },
    counted={"completed": 4, "cancelled": 2, "failed": 1},
)


def _with_line(*line: Line) -> History:
    return replace(GOOD, lines=(*GOOD.lines, *line))


def _with_outcome(task_id: str, *outcome: Outcome) -> History:
    kept = {known: one for known, one in GOOD.outcomes.items() if known != task_id}
    return replace(GOOD, outcomes={**kept, **dict.fromkeys([task_id] if outcome else [], *outcome)})


def test_a_good_history_breaks_no_rule() -> None:
    assert violations(GOOD) == []
    assert lost(GOOD) == []
    assert doubled(GOOD) == 0


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (_with_outcome("a"), "a was lost"),
        (_with_outcome("a", Outcome("failed", 2.1, 1)), "a is failed, not completed"),
        (_with_outcome("g", Outcome("completed", 2.0, 2)), "g ran 2 times, although"),
        (_with_line(Line("c", "start", 1, 0.7)), "c was cancelled while it was queued and ran"),
        (_with_line(Line("e", "effect", 1, 2.5)), "e: effect of attempt 1, 0.600 s after its outcome"),
        (_with_line(Line("e", "start", 2, 1.8)), "e was cancelled in attempt 1 and started again"),
        (replace(GOOD, lines=GOOD.lines[:1] + GOOD.lines[2:]), "a completed without its effect"),
        (_with_line(Line("b", "effect", 1, 9.0)), "b: effect of attempt 1, 3.900 s after its outcome"),
        (_with_line(Line("b", "effect", 1, 4.5)), "b: effect of attempt 1, while attempt 2 was running"),
        (_with_line(Line("a", "start", 1, 3.0)), "a: start of attempt 1, 0.900 s after its outcome"),
        (_with_line(Line("d", "effect", 0, 1.8)), "d: effect of attempt 0, 0.200 s after its outcome"),
        (_with_line(Line("a", "start", 1, 1.2)), "a: attempt 1 started 2 times"),
        (_with_line(Line("d", "start", 0, 0.7)), "d started before its time"),
        (_with_line(Line("b", "start", 1, 0.5)), "b started before a"),
        (_with_line(Line("z", "start", 1, 0.5)), "z ran, but nobody submitted it"),
        (replace(GOOD, planned=(*GOOD.planned[:3], Planned("d", "p", twin="y"))), "d and y have the same idempotency"),
        (replace(GOOD, counted={**GOOD.counted, "completed": 5}), "5 outcomes 'completed' were written for 4 tasks"),
        (replace(GOOD, counted={**GOOD.counted, "cancelled": 0}), "0 outcomes 'cancelled' were written for 2 tasks"),
    ],
)
def test_each_broken_rule_is_named(wrong: History, says: str) -> None:
    assert any(one.startswith(says) for one in violations(wrong)), violations(wrong)


def test_lost_tasks_and_second_outcomes_are_counted() -> None:
    assert lost(_with_outcome("b")) == ["b"]
    assert doubled(replace(GOOD, counted={**GOOD.counted, "dead": 2})) == 2


def test_order_is_not_asked_of_a_task_that_was_lost_before_it_wrote_anything() -> None:
    lines = tuple(replace(line, attempt=2) if line == GOOD.lines[0] else line for line in GOOD.lines)

    late = replace(GOOD, lines=(*lines, Line("b", "start", 1, 0.5)))

    assert not any("started before a" in one for one in violations(late))


@pytest.mark.parametrize(
    ("starts", "longest"),
    [
        ([9.0, 13.0], 3.0),  # nothing until it was undone, and one second more
        ([9.0, 10.1, 13.0], 3.0),  # the second one was on its way when the fault came
        ([9.0, 11.0, 11.5, 16.0], 4.5),  # it went on, and then stood still
        ([9.0, 11.0], None),  # nothing since it was undone
    ],
)
def test_a_standstill_is_the_longest_time_without_a_start_from_the_fault_to_the_first_start_after_it(
    starts: list[float], longest: float | None
) -> None:
    assert standstill(starts, Window(since=10.0, undone=12.0)) == longest
