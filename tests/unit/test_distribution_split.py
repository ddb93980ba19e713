"""Splitting a task into parts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mahavishnu_pools import errors
from mahavishnu_pools.routing.distribution import LIST_KEYS, Spread, copies, follower, split, spread
from mahavishnu_pools.schemas.pool import DistributionStrategy
from mahavishnu_pools.schemas.task import TaskSpec

ITEMS = st.lists(st.one_of(st.integers(), st.text(), st.none(), st.lists(st.integers())), min_size=1)


def how(chunk_size: int = 1, **given_: object) -> Spread:
    return Spread(DistributionStrategy.ROUND_ROBIN, chunk_size=chunk_size, **given_)  # type: ignore[arg-type]


@given(items=ITEMS, key=st.sampled_from(LIST_KEYS), size=st.integers(1, 7))
def test_the_parts_hold_every_item_once_in_order(items: list[object], key: str, size: int) -> None:
    spec = TaskSpec(task_type="transform", payload={key: items, "mode": "fast"})  # type: ignore[dict-item]

    parts = split(spec, how(size))

    assert [item for part in parts for item in part.payload[key]] == items  # type: ignore[union-attr]
    assert all(len(part.payload[key]) <= size for part in parts)  # type: ignore[arg-type]
    assert len(parts) == -(-len(items) // size)
    assert all(part.payload["mode"] == "fast" and part.task_type == "transform" for part in parts)


@given(items=st.lists(st.text().filter(lambda item: not item.startswith("/")), min_size=1))
def test_a_prompt_and_its_directory_are_filled_with_the_item(items: list[str]) -> None:
    spec = TaskSpec(prompt="Fix {item}!", payload={"items": items}, cwd="/repos/{item}")  # type: ignore[dict-item]

    parts = split(spec, how())

    assert [(part.prompt, part.cwd, part.payload) for part in parts] == [
        (f"Fix {item}!", f"/repos/{item}", {}) for item in items
    ]


def test_braces_in_items_stay_what_they_are() -> None:
    spec = TaskSpec(prompt="{item} {other}", payload={"items": ["{item}", "{0}"]})

    assert [part.prompt for part in split(spec, how())] == ["{item} {other}", "{0} {other}"]


def test_the_first_known_key_that_holds_a_list_is_split() -> None:
    spec = TaskSpec(task_type="t", payload={"data": [1], "items": "no list", "files": ["a", "b"]})

    assert [part.payload["files"] for part in split(spec, how())] == [["a"], ["b"]]
    assert [part.payload["data"] for part in split(spec, how(split_on="data"))] == [[1]]


def test_parts_are_tasks_of_their_own() -> None:
    spec = TaskSpec(task_type="t", payload={"items": [1, 2]}, idempotency_key="k", affinity="a", priority=9)

    assert [(part.idempotency_key, part.affinity, part.priority) for part in split(spec, how())] == [
        ("k#0", None, 9),
        ("k#1", None, 9),
    ]
    assert [part.idempotency_key for part in copies(spec, 2)] == ["k#0", "k#1"]


@pytest.mark.parametrize("payload", [{}, {"items": "text"}, {"items": {"a": 1}}, {"items": []}])
def test_a_payload_without_a_list_is_refused(payload: dict[str, object]) -> None:
    with pytest.raises(errors.InvalidField, match="payload"):
        split(TaskSpec(task_type="t", payload=payload), how())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("task_type", "named", "expected"),
    [("analyze", None, "analysis"), ("analyze", "concat", "concat"), ("shell", None, "concat")],
)
def test_map_reduce_ends_with_its_reducer(task_type: str, named: str | None, expected: str) -> None:
    spec = TaskSpec(task_type=task_type, payload={"files": ["a"]}, priority=8)

    after = follower(spec, Spread(DistributionStrategy.MAP_REDUCE, reducer=named), "batch_1")

    assert after is not None
    assert (after.task_type, after.priority) == ("reduce", 8)
    assert after.payload == {"batch_id": "batch_1", "reducer": expected}


def test_a_reducer_of_the_users_own_is_a_task_type_of_its_own() -> None:
    spec = TaskSpec(prompt="x", idempotency_key="once")

    after = follower(spec, Spread(DistributionStrategy.MAP_REDUCE, reducer="longest"), "batch_1")

    assert after is not None
    assert (after.task_type, after.payload["batch_id"]) == ("reduce:longest", "batch_1")
    assert after.idempotency_key == "once#longest"


@pytest.mark.parametrize("strategy", [one for one in DistributionStrategy if one != "map_reduce"])
def test_other_strategies_reduce_nothing(strategy: DistributionStrategy) -> None:
    assert follower(TaskSpec(prompt="x"), Spread(strategy), "b") is None


def test_every_strategy_but_broadcast_routes_its_parts() -> None:
    assert {one for one in DistributionStrategy if Spread(one).selector is None} == {"broadcast"}


def test_bad_choices_are_named() -> None:
    with pytest.raises(errors.UnknownChoice, match="broadcast"):
        spread("spray", split_on=None, chunk_size=1, reducer=None)
    with pytest.raises(errors.InvalidField, match="chunk_size"):
        spread("map_reduce", split_on=None, chunk_size=0, reducer=None)
    with pytest.raises(errors.InvalidField, match="reducer: is nothing that strategy broadcast uses"):
        spread("broadcast", split_on=None, chunk_size=1, reducer="concat")
