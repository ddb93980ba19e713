"""Which files the demonstration looks at."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.demo.files import can_be_sent, python_files


def _write(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("", encoding="utf-8")


def test_python_files_are_found_below_the_directory_in_order(tmp_path: Path) -> None:
    _write(tmp_path, "b.py", "a.py", "package/c.py", "notes.txt")

    assert python_files(tmp_path) == ["a.py", "b.py", "package/c.py"]


@pytest.mark.parametrize("skipped", [".venv", ".git", ".hidden", "node_modules", "build", "a/__pycache__"])
def test_what_others_wrote_or_a_build_made_is_left_out(tmp_path: Path, skipped: str) -> None:
    _write(tmp_path, "a.py", f"{skipped}/x.py")

    assert python_files(tmp_path) == ["a.py"]


def test_a_virtual_environment_of_any_name_is_left_out(tmp_path: Path) -> None:
    _write(tmp_path, "a.py", "env311/pyvenv.cfg", "env311/lib/x.py")

    assert python_files(tmp_path) == ["a.py"]


def test_a_hidden_directory_can_be_named_itself(tmp_path: Path) -> None:
    _write(tmp_path, ".mine/a.py")

    assert python_files(tmp_path / ".mine") == ["a.py"]


def test_a_directory_that_links_to_itself_is_walked_once(tmp_path: Path) -> None:
    _write(tmp_path, "a.py")
    (tmp_path / "again").symlink_to(tmp_path)

    assert python_files(tmp_path) == ["a.py"]


@pytest.mark.parametrize("name", ["nowhere", "file.py", "empty"])
def test_a_directory_without_python_files_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.py").touch()
    (tmp_path / "empty").mkdir()

    with pytest.raises(errors.InvalidField, match=f"DIR: .*{name}"):
        python_files(tmp_path / name)


def test_a_name_that_is_no_unicode_cannot_be_sent() -> None:
    assert not can_be_sent(os.fsdecode(b"caf\xe9.py"))
    assert can_be_sent("café.py")
