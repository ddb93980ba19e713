"""Strategies that measure: what they choose, how several tasks are placed, and plug-ins that fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.routing import measured
from mahavishnu_pools.routing.measured import BUILT_IN, Measured, cheapest, fastest, placed, strategy_of
from mahavishnu_pools.schemas.pool import PoolSelector
from mahavishnu_pools.schemas.routing import RoutingCandidate, RoutingRequest

REQUEST = RoutingRequest(task_type="prompt")


def pool(pool_id: str, **fields: Any) -> RoutingCandidate:
    given = {"pool_id": pool_id, "name": pool_id, "region": "default", "workers": 1, "running": 0, "queued": 0}
    return RoutingCandidate(**{**given, **fields})


def test_the_fastest_pool_is_the_one_where_the_task_has_ended_first() -> None:
    quick, slow = pool("quick", seconds=2.0), pool("slow", seconds=10.0)

    assert fastest([slow, quick], REQUEST) == "quick"
    assert fastest([slow, pool("quick", seconds=2.0, queued=3)], REQUEST) == "quick"
    assert fastest([slow, pool("quick", seconds=2.0, queued=5)], REQUEST) == "slow"
    assert fastest([slow, pool("quick", seconds=2.0, queued=5, workers=5)], REQUEST) == "quick"


def test_a_pool_of_which_nothing_is_known_is_tried() -> None:
    known = pool("known", seconds=2.0, completed=5)

    assert fastest([known, pool("new")], REQUEST) == "new"
    assert fastest([known, pool("new", queued=1)], REQUEST) == "known"
    assert cheapest([pool("known", usd=0.1), pool("new")], REQUEST) == "new"
    assert fastest([pool("a", completed=1), pool("b")], REQUEST) == "b"


def test_the_cheapest_pool_costs_least_and_of_equal_ones_is_the_least_loaded() -> None:
    dear, cheap = pool("dear", usd=0.5), pool("cheap", usd=0.01, queued=100)

    assert cheapest([dear, cheap], REQUEST) == "cheap"
    assert cheapest([pool("a", usd=0.1, queued=2), pool("b", usd=0.1, queued=1)], REQUEST) == "b"


@pytest.mark.parametrize("strategy", [fastest, cheapest])
def test_degraded_pools_are_the_last_resort(strategy: measured.Strategy) -> None:
    sick = pool("sick", degraded=True, seconds=0.1)

    assert strategy([sick, pool("well", seconds=99.0, usd=99.0)], REQUEST) == "well"
    assert strategy([sick], REQUEST) == "sick"


def test_several_tasks_are_placed_one_after_the_other() -> None:
    found = placed(BUILT_IN["fastest"], [pool("slow", seconds=4.0), pool("quick", seconds=1.0)], REQUEST, count=10)

    assert (found.count("quick"), found.count("slow")) == (8, 2)
    assert found[0] == "quick"


def test_names_are_those_of_the_built_in_ones_and_of_plug_ins() -> None:
    assert strategy_of("round_robin") is PoolSelector.ROUND_ROBIN
    assert strategy_of(PoolSelector.RANDOM) is PoolSelector.RANDOM
    assert strategy_of("fastest") is BUILT_IN["fastest"]
    with pytest.raises(errors.UnknownChoice, match="affinity, cheapest, fastest, least_loaded, random, round_robin"):
        strategy_of("best")


def fails(candidates: Sequence[RoutingCandidate], request: RoutingRequest) -> str:
    raise RuntimeError("no idea")


@pytest.mark.parametrize(
    ("choose", "said"),
    [(fails, "RuntimeError: no idea"), (lambda *_: "pool_x", "'pool_x'"), (lambda *_: None, "None")],
)
def test_a_strategy_that_fails_or_chooses_no_candidate_is_named(choose: Any, said: str) -> None:
    with pytest.raises(errors.InvalidConfig, match="'mine'") as caught:
        placed(Measured("mine", choose), [pool("a")], REQUEST, count=1)

    assert said in caught.value.message


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Return a function that installs a package with strategies: its source, and its entry points."""

    def install(source: str, entries: str) -> None:
        (tmp_path / "night_shift.py").write_text(source)
        info = tmp_path / "night_shift-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: night-shift\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{measured.ENTRY_POINT_GROUP}]\n{entries}\n")
        monkeypatch.syspath_prepend(tmp_path)

    return install


def test_a_plug_in_is_found_by_its_entry_point(installed: Callable[[str, str], None]) -> None:
    source = "def least(candidates, request):\n    return min(one.pool_id for one in candidates)\n"
    installed(source, "least = night_shift:least\nbroken = night_shift:absent\nfastest = night_shift:least")

    found = strategy_of("least")

    assert isinstance(found, Measured)
    assert placed(found, [pool("b"), pool("a")], REQUEST, count=2) == ("a", "a")
    assert strategy_of("fastest") is BUILT_IN["fastest"]
    with pytest.raises(errors.InvalidConfig, match="'broken'"):
        strategy_of("broken")
    with pytest.raises(errors.UnknownChoice, match=r"broken.*least,"):
        strategy_of("most")
