"""The blocks of the README and the quick start run as they stand, one after another, on a private stack."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.docs import blocks

#: Where the documents make their experiments; the tests put a directory of their own in its place.
PLACES = ("/tmp/five-minutes", "/tmp/quickstart")

#: What all of a document may take: some thirty commands, each a program that starts anew, on a machine that is busy.
MOST_SECONDS = 280


def run(document: str, directory: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a document: blocks with a file name are written, ``sh`` blocks run in one shell that stops at a failure."""
    directory.mkdir()
    script = ["set -euo pipefail"]
    for block in blocks.blocks(document):
        if block.file is not None:
            (directory / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "sh":
            script.append(block.text)
    text = "\n".join(script)
    for place in PLACES:
        text = text.replace(place, str(directory))
    return subprocess.run(
        ["bash", "-c", text], env=environment, capture_output=True, text=True, timeout=MOST_SECONDS, check=False
    )


def test_the_readme_runs(tmp_path: Path, environment: dict[str, str]) -> None:
    done = run("README.md", tmp_path / "here", environment)

    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    assert "hello from" in done.stdout
    assert "completed hello" in done.stdout
    assert "\n5\n" in done.stdout


@pytest.mark.slow
def test_the_quick_start_runs(tmp_path: Path, environment: dict[str, str]) -> None:
    done = run("quickstart.md", tmp_path / "here", environment)

    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    assert "Analysis complete" in done.stdout
    assert "done" in done.stdout
