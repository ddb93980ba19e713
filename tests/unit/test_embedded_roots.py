"""Where tasks of a stack may work when nothing is configured: where it and earlier ones were started."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
from pathlib import Path

import pytest

from mahavishnu_pools.embedded import roots
from mahavishnu_pools.embedded.data_dir import DataDir
from mahavishnu_pools.embedded.roots import Root, Where, choose, remember, remembered, said
from mahavishnu_pools.settings import Settings


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Give two directories; the data directory exists, and the current directory is the first one."""
    found = (tmp_path / "a", tmp_path / "b")
    for place in (*found, tmp_path / "data"):
        place.mkdir()
    monkeypatch.chdir(found[0])
    return found


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    return DataDir(tmp_path / "data")


@pytest.fixture
def settings(data: DataDir) -> Settings:
    return Settings(data_dir=data.root)


def start(settings: Settings, where: Where = Where.ALSO_HERE) -> tuple[Path, ...]:
    """Do what a start does with the directories."""
    chosen = choose(settings, where)
    remember(DataDir(settings.data_dir), chosen.kept)
    return chosen.allowed


def test_a_start_elsewhere_allows_the_earlier_directory_too(
    settings: Settings, data: DataDir, places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert start(settings) == places[:1]

    monkeypatch.chdir(places[1])
    assert start(settings) == places

    monkeypatch.chdir(places[0])
    assert start(settings) == places
    assert stat.S_IMODE(data.roots_file.stat().st_mode) == 0o600


def test_a_directory_below_an_allowed_one_is_not_kept_apart(
    settings: Settings, data: DataDir, places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    start(settings)
    (places[0] / "below").mkdir()
    monkeypatch.chdir(places[0] / "below")

    assert start(settings) == places[:1]
    assert [root.path for root in remembered(data)] == [places[0]]


def test_only_here_forgets_the_others_and_as_before_adds_nothing(
    settings: Settings, data: DataDir, places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    start(settings)
    monkeypatch.chdir(places[1])

    assert start(settings, Where.AS_BEFORE) == places[:1]
    assert start(settings, Where.ONLY_HERE) == places[1:]
    assert [root.path for root in remembered(data)] == [places[1]]


def test_as_before_is_here_when_nothing_is_known(settings: Settings, places: tuple[Path, Path]) -> None:
    assert start(settings, Where.AS_BEFORE) == places[:1]


def test_configured_directories_hold_alone_and_leave_what_is_remembered(
    settings: Settings, data: DataDir, places: tuple[Path, Path]
) -> None:
    start(settings)

    chosen = choose(Settings(data_dir=data.root, allowed_roots=(Path("/srv"),)))

    assert (chosen.allowed, chosen.kept) == ((Path("/srv"),), ())
    assert said(Settings(data_dir=data.root, allowed_roots=(Path("/srv"),))) is None


@pytest.mark.parametrize("how", ["link", "parent", "owner", "file"])
def test_what_somebody_put_in_the_place_of_a_directory_is_not_allowed(
    how: str, settings: Settings, data: DataDir, places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = places
    kept = first / "sub"
    kept.mkdir()
    remember(data, [Root.at(kept)])
    if how == "owner":
        remember(data, [dataclasses.replace(Root.at(kept), uid=os.getuid() + 1)])
    elif how == "parent":
        (second / "sub").mkdir()
        first.rename(second / "was")
        first.symlink_to(second)
    else:
        kept.rmdir()
        kept.symlink_to("/") if how == "link" else kept.touch()
    monkeypatch.chdir(second)

    assert choose(settings).allowed == (second,)
    assert said(settings) == f"No longer allowed, since another owner or a link is there now: {kept}."


def test_starting_there_anew_allows_what_has_another_owner_now(
    settings: Settings, data: DataDir, places: tuple[Path, Path]
) -> None:
    remember(data, [dataclasses.replace(Root.at(places[0]), uid=os.getuid() + 1)])

    assert start(settings) == places[:1]
    assert [root.counts for root in remembered(data)] == [True]


def test_a_directory_that_is_away_is_not_allowed_and_is_when_it_comes_back(
    settings: Settings, places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = places
    start(settings)
    monkeypatch.chdir(second)
    first.rmdir()

    assert (start(settings), said(settings)) == ((second,), None)
    first.mkdir()
    assert set(start(settings)) == {first, second}


def test_others_are_told_a_few_of_them_by_name(
    settings: Settings, data: DataDir, tmp_path: Path, places: tuple[Path, Path]
) -> None:
    assert said(settings) is None
    many = [tmp_path / f"n{number}" for number in range(roots.NAMED + 2)]
    for one in many:
        one.mkdir()
    remember(data, [Root.at(one) for one in (places[0], *many)])

    told = said(settings)

    assert told == (
        "Tasks may also work where earlier stacks were started: "
        f"{', '.join(map(str, many[: roots.NAMED]))} and 2 more. "
        "'mahavishnu up --only-here' forgets them, after 'mahavishnu down'."
    )


def test_of_very_many_the_oldest_are_forgotten(settings: Settings, data: DataDir, places: tuple[Path, Path]) -> None:
    remember(data, [Root(Path(f"/gone/{number}"), 0) for number in range(roots.MOST)])

    start(settings)

    kept = [root.path for root in remembered(data)]
    assert (len(kept), kept[0], kept[-1]) == (roots.MOST, Path("/gone/1"), places[0])


@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"path": 3, "uid": "x"}]', '{"a": 1}'])
def test_a_file_that_cannot_be_read_allows_nothing(text: str, settings: Settings, data: DataDir) -> None:
    data.root.mkdir()
    data.roots_file.write_text(text)
    data.roots_file.chmod(0o600)

    assert choose(settings).allowed == (Path.cwd(),)


def test_a_file_that_others_can_write_allows_nothing(
    settings: Settings, data: DataDir, places: tuple[Path, Path]
) -> None:
    data.roots_file.write_text(json.dumps([{"path": str(places[1]), "uid": os.getuid()}]))
    data.roots_file.chmod(0o622)

    assert choose(settings).allowed == places[:1]
