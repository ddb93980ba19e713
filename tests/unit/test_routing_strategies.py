"""How a strategy becomes a choice, and what may be given as a task."""

from __future__ import annotations

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.routing.eligibility import Need, Sifted
from mahavishnu_pools.routing.strategies import STRATEGIES, Among, choice, selector_of
from mahavishnu_pools.routing.submission import CHUNK_BYTES, Parcel, chunked
from mahavishnu_pools.schemas.pool import PoolSelector
from mahavishnu_pools.store.tasks import Envelope


def among(*candidates: str, keep: tuple[str, ...] = (), everyone: bool = False) -> Among:
    sifted = Sifted(candidates, keep or candidates, {"left": "it is paused"})
    return Among(sifted, everyone=everyone, version=7, affinity="key", random=0.25)


def test_every_strategy_has_a_way() -> None:
    assert set(STRATEGIES) == set(PoolSelector)


@pytest.mark.parametrize("selector", list(PoolSelector))
def test_a_choice_names_its_strategy_candidates_and_version(selector: PoolSelector) -> None:
    made = choice(selector, among("a", "b"))

    assert (made.strategy, made.candidates, made.version) == (selector.value, ("a", "b"), 7)
    assert (made.affinity, made.keep) == (("key", ("a", "b")) if selector == "affinity" else (None, None))


@pytest.mark.parametrize("selector", list(PoolSelector))
def test_without_anybody_to_leave_out_no_list_is_sent(selector: PoolSelector) -> None:
    made = choice(selector, among("a", everyone=True))

    assert (made.candidates, made.keep) == (None, None)


@pytest.mark.parametrize("selector", list(PoolSelector))
def test_without_candidates_the_reasons_are_told(selector: PoolSelector) -> None:
    with pytest.raises(errors.NoPoolAvailable, match="left: it is paused"):
        choice(selector, among())


def test_a_bound_key_may_wait_for_a_paused_pool() -> None:
    assert choice(PoolSelector.AFFINITY, among(keep=("paused",))).keep == ("paused",)


def test_an_unknown_strategy_lists_those_that_exist() -> None:
    with pytest.raises(errors.UnknownChoice, match="affinity, least_loaded, random, round_robin"):
        selector_of("fastest")


def test_a_script_call_carries_neither_too_many_tasks_nor_too_many_bytes() -> None:
    def parcel(size: int) -> Parcel:
        return Parcel(Need(), None, Envelope("t", "prompt", "x" * size, 4, "", ""))

    many = [parcel(1)] * 1200
    big = [parcel(CHUNK_BYTES // 2), parcel(CHUNK_BYTES // 2), parcel(CHUNK_BYTES * 2), parcel(1)]

    assert [len(chunk) for chunk in chunked(many, range(1200))] == [500, 500, 200]
    assert list(chunked(big, range(4))) == [[0], [1], [2], [3]]
