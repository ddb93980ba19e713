"""Containers that groups of a node left: which are removed, which are none of its business."""

from __future__ import annotations

import pytest

from tests.fixtures.containers import StandIn
from workers.agent.containers import ContainerSweeper
from workers.executors import container_engine


@pytest.fixture(autouse=True)
def on_path(engine: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", engine.env["PATH"])


async def test_what_a_group_left_is_removed_and_nothing_else(engine: StandIn) -> None:
    engine.leave("mine", agent_id="a1", lease="dead", node="n")
    engine.leave("other", agent_id="a1", lease="living", node="n")

    await ContainerSweeper("a1").end("dead")

    assert engine.names() == {"other"}


async def test_an_agent_without_containers_asks_once_and_touches_nothing(engine: StandIn) -> None:
    engine.leave("stranger", agent_id="a2", lease="dead", node="n")

    await ContainerSweeper("a1").end("dead")

    assert engine.names() == {"stranger"}
    assert [call[0] for call in engine.calls("ps", "kill", "rm")] == ["ps"]


async def test_an_agent_begins_by_removing_what_no_living_group_of_its_node_owns(engine: StandIn) -> None:
    engine.leave("left", agent_id="a1", lease="dead", node="n")
    engine.leave("living", agent_id="a1", lease="living", node="n")
    engine.leave("elsewhere", agent_id="a1", lease="dead", node="other-machine")
    sweeper = ContainerSweeper("a1")

    await sweeper.look(node="n", living=lambda: ["living"])

    assert engine.names() == {"living", "elsewhere"}
    before = len(engine.calls())
    await sweeper.look(node="n", living=lambda: ["living"])
    assert len(engine.calls()) == before


async def test_what_a_silent_engine_kept_is_removed_when_it_answers_again(engine: StandIn) -> None:
    engine.leave("left", agent_id="a1", lease="dead", node="n")
    sweeper = ContainerSweeper("a1")
    await sweeper.look(node="n", living=lambda: ["dead"])
    engine.silence()

    await sweeper.end("dead")
    await sweeper.look(node="n", living=list)
    assert engine.names() == {"left"}

    engine.answer_again()
    await sweeper.look(node="n", living=list)
    assert engine.names() == set()


async def test_what_was_on_its_way_when_a_group_ended_is_removed_at_the_next_look(engine: StandIn) -> None:
    sweeper = ContainerSweeper("a1")
    await sweeper.look(node="n", living=list)
    await sweeper.end("dead")
    engine.leave("late", agent_id="a1", lease="dead", node="n")

    await sweeper.look(node="n", living=list)

    assert engine.names() == set()


async def test_an_engine_that_hangs_holds_an_end_up_for_its_deadline_only(
    engine: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container_engine, "CALL_SECONDS", 0.2)
    (engine.bin / "docker").write_text("#!/bin/sh\nexec sleep 60\n")

    await ContainerSweeper("a1").end("dead")


async def test_a_silent_engine_is_told_once_until_it_has_answered(
    engine: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    sweeper = ContainerSweeper("a1")
    caplog.set_level("INFO", logger="workers.agent.containers")

    for silences in (1, 2):
        engine.silence()
        for lease in ("one", "two", "three"):
            await sweeper.end(f"{lease}{silences}")
            await sweeper.look(node="n", living=list)

        told = [record for record in caplog.records if record.message.startswith("docker cannot be asked")]
        assert len(told) == silences
        engine.answer_again()
        await sweeper.look(node="n", living=list)
