"""Items from files: what is taken, and what is refused by its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.cli.items import items_from, same_for_all, with_items
from mahavishnu_pools.cli.tasks import Since


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "items"),
    [
        ("items.txt", " a \n\nb b\n", ["a", "b b"]),
        ("items.json", '["a", 2, {"x": 1}]', ["a", 2, {"x": 1}]),
        ("items.jsonl", '"a"\n{"x": 1}\n', ["a", {"x": 1}]),
    ],
)
def test_items_are_lines_or_values(name: str, text: str, items: list[object]) -> None:
    Path(name).write_text(text)

    assert items_from(name) == items
    assert items_from(f"@{name}") == items


def test_items_are_paths_that_match_in_order() -> None:
    for name in ("b.py", "a.py", "c.txt"):
        Path(name).touch()

    assert items_from("*.py") == ["a.py", "b.py"]


def test_the_mark_that_editors_on_windows_begin_files_with_is_no_part_of_the_text() -> None:
    Path("items.txt").write_text("\ufeffa\r\nb\r\n")

    assert items_from("items.txt") == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("none.txt", None, "cannot be read"),
        ("empty.txt", "\n", "holds no item"),
        ("odd.json", "{}", "is no JSON list"),
        ("odd.jsonl", '"a"\nb\n', "line 2 is no JSON"),
    ],
)
def test_items_that_cannot_be_read_are_refused(name: str, text: str | None, problem: str) -> None:
    if text is not None:
        Path(name).write_text(text)

    with pytest.raises(errors.InvalidField, match=problem) as caught:
        items_from(name)

    assert caught.value.message.startswith("--items-from: ")


@pytest.mark.parametrize(
    ("fields", "same"),
    [
        ({"prompt": "Fix it"}, True),
        ({"prompt": "Fix {item}"}, False),
        ({"prompt": "Fix it", "cwd": "/src/{item}"}, False),
        ({"payload": {"prompt": "Fix {item}"}}, False),
        ({"task_type": "analyze"}, False),
    ],
)
def test_a_prompt_without_a_place_for_its_item_is_the_same_for_all(fields: dict[str, object], same: bool) -> None:
    assert same_for_all(with_items(fields, ["a", "b"], key=None)) is same


def test_items_stand_in_the_payload_once() -> None:
    assert with_items({"prompt": "x"}, ["a"], key=None) == {"prompt": "x", "payload": {"items": ["a"]}}
    with pytest.raises(errors.InvalidField, match="has 'files' already"):
        with_items({"payload": {"files": []}}, ["a"], key="files")


@pytest.mark.parametrize("text", ["90s", "15m", "2h", "1.5d", "2026-01-31", "2026-01-31T15:00:00"])
def test_a_time_is_so_long_ago_or_a_local_one(text: str) -> None:
    assert Since().convert(text, None, None).tzinfo is not None


@pytest.mark.parametrize("text", ["soon", "1w", "99999999999d", "2026-13-01"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Exception, match="is no time"):
        Since().convert(text, None, None)
