"""What somebody has who follows the documents."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

#: Parts of a stack that the documents' commands do not need; tests of the stack start them.
OFF = {f"MAHAVISHNU_{name}": "off" for name in ("SERVER", "FLOWER", "EMBEDDED_SESSION_BUDDY", "EMBEDDED_AKOSHA")}


@pytest.fixture
def environment(tmp_path: Path, valkey_binary: Path) -> Iterator[dict[str, str]]:
    """Return the environment of somebody who activated .venv and has nothing configured."""
    with surroundings(tmp_path / "stack") as found:
        yield found


@contextmanager
def surroundings(data_dir: Path) -> Iterator[dict[str, str]]:
    """Give such an environment, whose stack is stopped afterwards."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    found = {**os.environ, **OFF, "PATH": path, "MAHAVISHNU_DATA_DIR": str(data_dir), "COLUMNS": "200"}
    yield found
    subprocess.run(["mahavishnu", "down"], env=found, check=True, capture_output=True, timeout=60)
