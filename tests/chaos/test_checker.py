"""The checker sees each kind of fault in a history, and none in a good one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chaos.history import History, Line, Outcome, Planned, violations

GOOD = History(
    planned=(
        Planned("a", "p", lane="p/5"),
        Planned("b", "p", lane="p/5"),
        Planned("c", "p", cancelled="cancelled", expect=("cancelled",)),
        Planned("d", "p"),
    ),
    lines=(
        Line("a", "start", 1, 1.0),
        Line("a", "effect", 1, 2.0),
        Line("b", "start", 1, 2.0),
        Line("b", "start", 2, 4.0),
        Line("b", "effect", 2, 5.0),
        Line("d", "start", 1, 1.0),
        Line("d", "effect", 1, 1.5),
    ),
    outcomes={
        "a": Outcome("completed", 2.1, 1),
        "b": Outcome("completed", 5.1, 2),
        "c": Outcome("cancelled", 0.5, 0),
        "d": Outcome("completed", 1.6, 1),
    },
    counted={"completed": 3, "cancelled": 1},
)


def test_a_good_history_breaks_no_rule() -> None:
    assert violations(GOOD) == []


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (replace(GOOD, outcomes={**GOOD.outcomes, "a": None}), "a was lost"),
        (replace(GOOD, outcomes={**GOOD.outcomes, "a": Outcome("failed", 2.1, 1)}), "a is failed, not completed"),
        (replace(GOOD, lines=(*GOOD.lines, Line("c", "start", 1, 0.7))), "c was cancelled while it was queued and ran"),
        (replace(GOOD, lines=GOOD.lines[:-1]), "d completed without its effect"),
        (replace(GOOD, lines=(*GOOD.lines, Line("b", "effect", 1, 9.0))), "b: effect of attempt 1, 3.900 s after"),
        (replace(GOOD, lines=(*GOOD.lines, Line("a", "start", 1, 3.0))), "a: start of attempt 1, 0.900 s after"),
        (replace(GOOD, lines=(*GOOD.lines, Line("b", "start", 1, 0.5))), "b started before a"),
        (replace(GOOD, counted={"completed": 4, "cancelled": 1}), "4 outcomes 'completed' were written for 3 tasks"),
        (replace(GOOD, counted={"completed": 3}), "0 outcomes 'cancelled' were written for 1 tasks"),
    ],
)
def test_each_broken_rule_is_named(wrong: History, says: str) -> None:
    kept = {task_id: outcome for task_id, outcome in wrong.outcomes.items() if outcome is not None}

    found = violations(replace(wrong, outcomes=kept))

    assert any(one.startswith(says) for one in found), found
