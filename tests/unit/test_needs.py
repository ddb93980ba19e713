"""How needs are written, what they mean, and what is said where no node has it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from mahavishnu_pools.routing.eligibility import Need, View, sift
from mahavishnu_pools.schemas.needs import Needs, parse_needs, parse_resources, shown
from mahavishnu_pools.schemas.pool import PoolConfig, PoolStatus
from mahavishnu_pools.schemas.task import TaskSpec
from mahavishnu_pools.store.node_stock import waits_for
from mahavishnu_pools.store.pools import NodeInfo, PoolRecord


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("memory=8GiB", 8 * 1024**3),
        ("memory=8GB", 8e9),
        ("memory=512Mi", 512 * 1024**2),
        ("memory=1k", 1000),
        ("memory=100B", 100),
        ("cpu=0.5", 0.5),
        ("cpu= 2 ", 2),
        ("nvidia.com/mig-1g=3", 3),
    ],
)
def test_amounts_are_numbers_with_units(text: str, amount: float) -> None:
    assert [found for _, found in parse_needs([text]).resources] == [amount]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (["gpu=0"], "above 0"),
        (["gpu=-1"], "no amount"),
        (["gpu=0.5"], "whole"),
        (["memory=8g"], "memory=8GiB"),
        (["memory=nan"], "no amount"),
        (["memory=1e9"], "no amount"),
        (["memory=999999P"], "at most"),
        (["gpu=1", "gpu=2"], "twice"),
        (["=1"], "no name"),
        ([""], "no name"),
        (["gp u"], "no name"),
        (["größe=1"], "no name"),
        (["a\nb=1"], "no name"),
        (["x" * 64], "no name"),
        ([f"r{number}=1" for number in range(21)], "20 is the most"),
        (7, "must be a list"),
        ([7], "must be a list"),
    ],
)
def test_what_cannot_be_read_is_refused_and_says_how_to_write_it(given: Any, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        TaskSpec(prompt="x", needs=given)


def test_needs_may_be_a_mapping_and_equal_ones_have_one_text() -> None:
    one = TaskSpec(prompt="x", needs={"memory": "1GiB", "gpu": 1, "fast": True}).asks_for
    other = TaskSpec(prompt="x", needs=["fast", "gpu=1", "memory=1073741824"]).asks_for

    assert one == other
    assert one.text == '{"resources":{"gpu":1,"memory":1073741824},"tags":["fast"]}'
    assert Needs.of_text(one.text) == one
    assert one.texts == ("gpu=1", "memory=1GiB", "fast")


def test_a_node_may_have_nothing_of_something_and_always_says_how_much() -> None:
    assert parse_resources(["gpu=0", "memory=1KiB"]) == {"gpu": 0, "memory": 1024}
    with pytest.raises(ValueError, match="no amount"):
        parse_resources(["gpu"])
    with pytest.raises(ValueError, match="twice"):
        parse_resources(["gpu=1", "gpu=2"])


def test_amounts_are_shown_in_the_unit_that_fits() -> None:
    assert [shown("memory", 8 * 1024**3), shown("memory", 500), shown("gpu", 3), shown("cpu", 0.25)] == [
        "8 GiB",
        "500 B",
        "3",
        "0.25",
    ]


def node(name: str, *, tags: tuple[str, ...] = (), alive: bool = True, **resources: float) -> NodeInfo:
    return NodeInfo(name=name, pid=1, started=1.0, tags=tags, alive=alive, resources=resources, programs=("shell",))


def pool(name: str, *nodes: str, **config: Any) -> PoolRecord:
    return PoolRecord(
        pool_id=f"pool_{name}",
        config=PoolConfig(name=name, **config),
        status=PoolStatus.RUNNING,
        workers=1,
        created=1.0,
        reason=None,
        assigned=nodes,
        queued=0,
        running=0,
        groups=(),
        counts={},
    )


def reasons(needs: list[str], nodes: list[NodeInfo], *pools: PoolRecord) -> dict[str, str]:
    need = Need("shell", needs=parse_needs(needs))
    return dict(sift(View(1, pools, tuple(nodes)), need).reasons)


def test_only_pools_of_which_a_node_could_ever_run_it_are_candidates() -> None:
    nodes = [node("a", gpu=1), node("b", gpu=4, tags=("fast",))]

    assert reasons(["gpu=2"], nodes, pool("one", "a"), pool("two", "b"), pool("both", "a", "b")) == {
        "one": "gpu: 2 asked, no node of it has more than 1"
    }
    assert reasons(["fast"], nodes, pool("one", "a"), pool("two", "b")) == {"one": "no node of it has the tag fast"}
    assert reasons(["disk=1"], nodes, pool("one", "a")) == {"one": "disk: 1 asked, no node of it has any"}


def test_what_several_nodes_have_only_together_no_node_has() -> None:
    nodes = [node("a", gpu=4, memory=10), node("b", gpu=1, memory=100)]

    found = reasons(["gpu=2", "memory=50"], nodes, pool("p", "a", "b"))

    assert found["p"].startswith(
        "no node of it has all of gpu=2, memory=50B (a: memory: 50 B asked, it has 10 B; b: gpu"
    )


def test_of_a_pool_without_a_living_node_any_other_may_be_the_next() -> None:
    lost = node("a", alive=False, gpu=8)

    assert reasons(["gpu=2"], [lost, node("b", gpu=4)], pool("p", "a")) == {}
    assert reasons(["gpu=8"], [lost, node("b", gpu=4)], pool("p", "a")) == {
        "p": "gpu: 8 asked, no node has more than 4"
    }
    assert reasons(["gpu=8"], [lost], pool("p", "a")) == {}


def test_pools_that_run_tasks_elsewhere_say_what_they_cannot_ask_for() -> None:
    jobs = pool("jobs", "a", pool_type="kubernetes", kubernetes={"container_image": "x:1"})
    delegates = pool("far", "a", pool_type="session-buddy", endpoint="http://127.0.0.1:1/mcp")

    assert reasons(["gpu=2", "memory=1GiB", "example.org/x=1"], [node("a")], jobs) == {}
    assert reasons(["license=1"], [node("a")], jobs) == {"jobs": "a cluster does not know the resource license"}
    assert reasons(["fast"], [node("a")], jobs) == {"jobs": "a Job cannot ask for the tag fast"}
    found = sift(View(1, (delegates,), ()), Need("prompt", needs=parse_needs(["gpu=1"]))).reasons
    assert found == {"far": "it hands tasks over to another server, which cannot be asked for resources"}


def test_who_waits_is_told_for_what_by_node() -> None:
    busy = node("b", gpu=2).model_copy(update={"in_use": {"gpu": 1.0}})

    assert waits_for(parse_needs(["gpu=2"]), [busy, node("a", gpu=1)]) == (
        "gpu=2 (a: gpu: 2 asked, it has 1; b: gpu: 1 of 2 free)"
    )
    assert waits_for(parse_needs(["gpu=2"]), []) == "a node of its pool that lives and has gpu=2"
    many = [node(f"n{number}", gpu=1) for number in range(9)]
    assert waits_for(parse_needs(["gpu=2"]), many).endswith("; and 4 more nodes)")
