"""What the document on operating tells to do: its blocks run on a private stack, and lose no task."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.docs import blocks
from tests.fixtures.compose import project

TEXT = (blocks.ROOT / "docs" / "operating.md").read_text(encoding="utf-8")

OFF = {f"MAHAVISHNU_{name}": "off" for name in ("SERVER", "FLOWER", "EMBEDDED_SESSION_BUDDY", "EMBEDDED_AKOSHA")}


@pytest.mark.slow
def test_a_task_that_waits_outlives_backup_restore_and_upgrade(tmp_path: Path, environment: dict[str, str]) -> None:
    ran = tmp_path / "ran"
    told = [block.text for block in blocks.blocks("operating.md") if block.language == "sh"]
    script = f"""
        set -euo pipefail
        mahavishnu up --detach
        mahavishnu pools spawn --name first --worker-type shell --allowed-root {tmp_path}
        mahavishnu pools pause first
        mahavishnu pools execute first --prompt 'echo ran >> {ran}' --cwd {tmp_path} --no-wait
        {"".join(told)}
        test ! -e {ran}
        mahavishnu pools resume first
        mahavishnu pools execute first --prompt true
    """
    places = {"/var/lib/mahavishnu": environment["MAHAVISHNU_DATA_DIR"], "/var/backups": str(tmp_path)}
    for place, here in places.items():
        script = script.replace(place, here)

    done = subprocess.run(
        ["bash", "-c", script], env={**environment, **OFF}, cwd=tmp_path, capture_output=True, text=True, timeout=280
    )

    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    assert len(told) == 3
    assert ran.read_text() == "ran\n"
    assert "is restarted" in done.stdout


def test_the_configuration_of_redis_is_that_of_compose() -> None:
    (told,) = re.findall(r"^ +appendonly yes\n(?: +.+\n)*", TEXT, re.MULTILINE)
    environment = project()["services"]["redis"]["environment"]
    used = project()["services"]["redis"]["command"][-1].replace("$REDIS_APPENDFSYNC", environment["REDIS_APPENDFSYNC"])

    lines = {line.strip() for line in told.splitlines() if line.strip() != "```"}

    assert len(lines) == 6
    assert lines <= {line.strip() for line in used.splitlines()}


def test_every_file_it_names_exists() -> None:
    named = set(re.findall(r"deploy/[\w./-]+\w|docker-compose\.yml|\.env\.example", TEXT))
    units = {f"deploy/systemd/{unit}" for unit in re.findall(r"mahavishnu(?:-\w+)?\.service", TEXT)}

    assert len(named) >= 4
    assert [name for name in named | units if not (blocks.ROOT / name).exists()] == []
