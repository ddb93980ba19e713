"""What an installation brings: our own names only, so that no project of the user's is disturbed."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.structure.source_tree import ROOT, tracked_files


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(directory.glob("*.whl"))


def test_the_wheel_brings_two_packages_and_nothing_else(wheel: Path) -> None:
    names = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}

    assert {name for name in names if not name.endswith(".dist-info")} == {"mahavishnu_pools", "mahavishnu_workers"}


def test_the_wheel_brings_every_file_of_the_two_packages(wheel: Path) -> None:
    expected = {
        path.replace("workers/", "mahavishnu_workers/", 1) if path.startswith("workers/") else path
        for path in tracked_files()
        if path.startswith(("mahavishnu_pools/", "workers/"))
    }

    assert expected <= set(zipfile.ZipFile(wheel).namelist())


def test_an_installed_wheel_works_beside_a_users_own_workers(wheel: Path, tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)
    project = _project_with_its_own_workers(tmp_path)

    workers, ours = _imported(cwd=project, python_path=f"{project}{os.pathsep}{installed}")

    assert workers == project / "workers.py"
    assert ours == installed / "mahavishnu_workers" / "__init__.py"


def test_an_editable_installation_works_beside_a_users_own_workers(tmp_path: Path) -> None:
    project = _project_with_its_own_workers(tmp_path)

    workers, ours = _imported(cwd=project, python_path=str(project))

    assert workers == project / "workers.py"
    assert ours.resolve() == ROOT / "workers" / "__init__.py"


def test_an_editable_installation_brings_no_workers(tmp_path: Path) -> None:
    program = "import importlib.util; print(importlib.util.find_spec('workers'))"

    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "None"


def _project_with_its_own_workers(directory: Path) -> Path:
    project = directory / "project"
    project.mkdir()
    project.joinpath("workers.py").write_text("")
    return project


def _imported(*, cwd: Path, python_path: str) -> tuple[Path, Path]:
    program = "import workers, mahavishnu_workers; print(workers.__file__); print(mahavishnu_workers.__file__)"
    environment = os.environ | {"PYTHONPATH": python_path}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.split("\n")[:2]
    return Path(first), Path(second)
