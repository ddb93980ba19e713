"""Pool types of plug-ins, as node agents see them."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint

import pytest

from mahavishnu_pools import MahavishnuPool, PoolType, errors
from mahavishnu_pools.pools import factory

HERE = PoolType("here", check=lambda config: None, handle=MahavishnuPool)
ELSEWHERE = PoolType("elsewhere", check=lambda config: None, handle=MahavishnuPool, on_nodes=False)


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    """Nothing of plug-ins is remembered before and after a test."""
    _forget()
    yield
    _forget()


def _forget() -> None:
    factory._plugins.cache_clear()
    factory.on_nodes.cache_clear()


def installed(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    found = [EntryPoint(name, f"{__name__}:{name}", factory.ENTRY_POINT_GROUP) for name in names]
    monkeypatch.setattr(EntryPoint, "load", lambda entry: globals()[entry.name])
    monkeypatch.setattr(factory, "entry_points", lambda group: found)


def test_agents_run_the_built_in_types_and_those_of_plug_ins_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "HERE", "ELSEWHERE")

    names = ("mahavishnu", "session-buddy", "kubernetes", "here", "elsewhere", "unknown")
    assert [name for name in names if factory.on_nodes(name)] == ["mahavishnu", "session-buddy", "kubernetes", "here"]


def test_a_broken_plug_in_ends_no_agent_and_is_named_to_who_spawns(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    installed(monkeypatch, "MISSING")

    assert not factory.on_nodes("missing")
    assert factory.on_nodes("mahavishnu")
    assert "a plug-in cannot be loaded" in caplog.text
    with pytest.raises(KeyError, match="MISSING"):
        factory.pool_type("missing")


def test_what_is_no_pool_type_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "installed")

    with pytest.raises(errors.InvalidConfig, match="which is no PoolType"):
        factory.pool_type("installed")
