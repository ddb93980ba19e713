"""The files people read first agree with what the project does."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / "examples").rglob("*.md"),
]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split())  # type: ignore[index]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_make_command_in_a_document_exists(document: Path) -> None:
    # Only code counts: "they make it easy" is no command.
    code = " ".join(re.findall(r"```.*?```|`[^`\n]+`", document.read_text(encoding="utf-8"), re.DOTALL))

    assert set(re.findall(r"(?:^|[\s`$])make ([a-z][a-z-]*)", code)) <= TARGETS


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_to_a_file_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8"))

    broken = [link for link in links if "://" not in link and not (document.parent / link).exists()]

    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_to_a_section_leads_to_one(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", text)

    here = [(document.parent / link if link else document, anchor) for link, anchor in links if "://" not in link]

    assert [f"{path.name}#{anchor}" for path, anchor in here if anchor not in anchors(path)] == []


def anchors(document: Path) -> set[str]:
    """Return the names that a page's headings have as link targets."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", heading)) for heading in headings)
    return {heading.lower().replace(" ", "-") for heading in plain}


def test_every_document_is_found_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")

    pages = [*(ROOT / "docs").glob("*.md"), ROOT / "examples" / "README.md"]
    assert [page.name for page in pages if f"]({page.relative_to(ROOT)}" not in text] == []
    overview = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    assert [
        one.name for one in (ROOT / "examples").iterdir() if one.is_dir() and f"]({one.name}/" not in overview
    ] == []


def test_every_command_is_a_target_that_says_what_it_does() -> None:
    explained = set(re.findall(r"^#   make ([a-z-]+)", MAKEFILE, re.MULTILINE))

    tests = {"test", "test-slow", "test-peers", "test-kubernetes"}
    assert explained == TARGETS == {"run", *tests, "chaos", "lint", "bench", "bench-peers"}


def test_ci_runs_the_tests_and_the_checks() -> None:
    commands = re.findall(r"^(make \S+)", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)

    assert sorted(commands) == ["make lint", "make test"]


def test_the_changelog_has_a_place_for_what_is_not_released() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    versions = re.findall(r"^## (.*)$", text, re.MULTILINE)
    sections = set(re.findall(r"^### (.*)$", text, re.MULTILINE))

    assert versions[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", version) for version in versions[1:])
    assert sections <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_licence_is_the_one_the_package_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")

    assert project["license"] == "Apache-2.0"
    assert "Apache License\n                           Version 2.0, January 2004" in text
