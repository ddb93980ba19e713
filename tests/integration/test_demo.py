"""The main job of ``make run`` as a process: a stack of its own, real files, three pools."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.waiting import eventually


def _start(directory: Path, *arguments: str, cwd: Path) -> subprocess.Popen[str]:
    argv = [sys.executable, "-P", "-m", "mahavishnu_pools.demo", str(directory), *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(argv, stdout=pipe, stderr=pipe, text=True, cwd=cwd, env=dict(os.environ))


def _run(directory: Path, *arguments: str, cwd: Path) -> tuple[int, str, str]:
    with _start(directory, *arguments, cwd=cwd) as process:
        out, err = process.communicate(timeout=110)
        return process.returncode, out, err


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with good files and three that cannot be analysed."""
    root = tmp_path_factory.mktemp("demo") / "project"
    (root / "package").mkdir(parents=True)
    (root / "clean.py").write_text("x = 1\n", encoding="utf-8")
    (root / "package" / "unused.py").write_text("import os\nimport re\n", encoding="utf-8")
    (root / "broken.py").write_text("def f(:\n", encoding="utf-8")
    (root / "binary.py").write_bytes(b"\0\1\2")
    (root / "gone.py").symlink_to(root / "nowhere.py")
    (root / ".venv").mkdir()
    (root / ".venv" / "skipped.py").write_text("import os\n", encoding="utf-8")
    return root


def test_the_main_job_analyses_every_file_and_lists_the_failed_ones(
    project: Path, tmp_path: Path, valkey_binary: Path
) -> None:
    code, out, err = _run(project, "--format", "json", cwd=tmp_path)

    assert code == 0, err
    report: dict[str, Any] = json.loads(out)
    items = {item["file"]: item for item in report["items"]}
    assert [*items] == ["binary.py", "broken.py", "clean.py", "gone.py", "package/unused.py"]
    assert items["package/unused.py"]["issues"] == 2
    assert items["clean.py"]["issues"] == 0
    assert report["by_rule"] == {"F401": 2}
    assert {item["file"] for item in report["items"] if item["error"]} == {"binary.py", "broken.py", "gone.py"}
    assert {item["pool"] for item in report["items"]} <= {"analysis-1", "analysis-2", "analysis-3"}
    assert all(item["worker"] and item["duration"] is not None for item in report["items"])


@pytest.fixture(scope="module")
def printed(project: Path, tmp_path_factory: pytest.TempPathFactory, valkey_binary: Path) -> tuple[str, Path]:
    """Return what a run prints for people, and its directory for temporary files."""
    base = tmp_path_factory.mktemp("printed")
    temporary = base / "tmp"
    temporary.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(temporary))
        code, out, err = _run(project, cwd=base)
    assert code == 0, err
    return out, temporary


def test_the_report_for_people_has_tables_totals_and_what_to_type_next(printed: tuple[str, Path]) -> None:
    out, _ = printed

    titles = ["Findings per file", "Failed items", "Totals by pool", "Totals by rule", "What to type next:"]
    assert [title for title in titles if title in out] == titles
    assert re.search(r"✓ 5 files of \S+/project: 2 issues, 3 failed, in [\d.]+ s on 3 pools", out)
    assert "pools execute" in out


def test_the_stack_is_gone_afterwards(printed: tuple[str, Path]) -> None:
    _, temporary = printed

    assert [*temporary.iterdir()] == []
    assert _processes_with(str(temporary)) == []


def test_staying_up_prints_addresses_that_work_until_ctrl_c(project: Path, tmp_path: Path, valkey_binary: Path) -> None:
    with _start(project, "--stay", cwd=tmp_path) as process:
        assert process.stdout is not None
        lines = []
        while not lines or "pools list" not in lines[-1]:
            lines.append(process.stdout.readline())
            assert lines[-1], f"{lines} {process.stderr.read() if process.stderr else ''}"
        data_dir = re.search(r"MAHAVISHNU_DATA_DIR=(\S+)", lines[-1])
        assert data_dir is not None
        assert any("redis://" in line for line in lines)

        listed = subprocess.run(
            [sys.executable, "-P", "-m", "mahavishnu_pools.cli.main", "pools", "list", "-f", "json"],
            env={**os.environ, "MAHAVISHNU_DATA_DIR": data_dir[1]},
            capture_output=True,
            check=True,
            timeout=60,
        )
        assert len(json.loads(listed.stdout)["pools"]) == 3

        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 0
        eventually(lambda: not Path(data_dir[1]).exists())


def test_a_directory_without_python_files_is_refused(tmp_path: Path) -> None:
    code, out, err = _run(tmp_path, cwd=tmp_path)

    assert (code, out) == (2, "")
    assert "DIR" in err
    assert str(tmp_path) in err


@pytest.mark.slow
def test_a_thousand_files_are_analysed(tmp_path: Path, valkey_binary: Path) -> None:
    for number in range(1000):
        (tmp_path / f"f{number:04}.py").write_text("import os\n" * (number % 3), encoding="utf-8")

    code, out, err = _run(tmp_path, cwd=tmp_path)

    assert code == 0, err
    assert "… and 960 more files" in out
    assert "✓ 1000 files" in out


def _processes_with(text: str) -> list[int]:
    found = []
    for process in psutil.process_iter():
        try:
            if text in process.environ().get("MAHAVISHNU_STACK", ""):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found
