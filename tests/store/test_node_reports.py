"""What agents answer when checks ask them how they are, also when several checks ask at once."""

from __future__ import annotations

import pytest

from mahavishnu_pools.schemas.node_report import NodeLimits, NodeReport
from mahavishnu_pools.store.node_reports import answer, ask_nodes, read_answers
from mahavishnu_pools.store.pools import NodeInfo, node_beat
from tests.store.world import World


def report(question: str, path: str = "") -> NodeReport:
    return NodeReport(request=question, node="n", clock_skew=0.0, path=path, limits=NodeLimits())


@pytest.fixture
def questions(world: World) -> tuple[str, str]:
    """Return the questions of two checks that ask before the node beats."""
    first, second = world.run(ask_nodes()), world.run(ask_nodes())
    assert world.run(node_beat(NodeInfo(name="n", pid=1, started=1.0), {}, ttl=60)) == second
    return first, second


def test_who_asked_before_another_one_has_the_answer_to_both(world: World, questions: tuple[str, str]) -> None:
    first, second = questions

    world.run(answer(report(second)))

    assert [list(world.run(read_answers(one))) for one in (first, second)] == [["n"], ["n"]]


def test_an_answer_from_before_a_question_is_none(world: World, questions: tuple[str, str]) -> None:
    first, second = questions

    world.run(answer(report(first)))

    assert [list(world.run(read_answers(one))) for one in (first, second)] == [["n"], []]


def test_a_late_answer_does_not_take_the_place_of_a_newer_one(world: World, questions: tuple[str, str]) -> None:
    first, second = questions

    world.run(answer(report(second, "newer")))
    world.run(answer(report(first, "older")))

    assert world.run(read_answers(second))["n"].path == "newer"
