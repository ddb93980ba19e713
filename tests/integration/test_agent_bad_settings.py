"""An agent that was started by hand and cannot work says why in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.agents import ROOT


@pytest.mark.parametrize("url", ["redis://:hidden@host:notaport/0", "redis://host:6379/abc?password=hidden"])
def test_a_malformed_redis_url_is_named_without_a_traceback_and_without_its_password(url: str, tmp_path: Path) -> None:
    env = {**os.environ, "MAHAVISHNU_REDIS_URL": url, "MAHAVISHNU_DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "workers.agent"]

    ended = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False
    )

    assert ended.returncode == 2
    assert ended.stderr.startswith("redis_url: ")
    assert "Traceback" not in ended.stderr
    assert "hidden" not in ended.stderr
