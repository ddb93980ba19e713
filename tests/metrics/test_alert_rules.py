"""The alert rules fire when they should and not otherwise, as Prometheus' own tool computes them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

RULES = Path(__file__).with_name("alerts_test.yml")


def test_each_alert_fires_for_its_condition_and_for_no_other() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        if "promtool" in os.environ.get("MAHAVISHNU_TESTS_NEED", "").split():
            pytest.fail("promtool is missing although this run has installed it")
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")

    done = subprocess.run(
        [promtool, "test", "rules", str(RULES)], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
    )

    assert done.returncode == 0, done.stdout + done.stderr
