"""The image: no engine runs here, so the file is read, and the steps that make the environment are run as processes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from mahavishnu_pools.kube import deployments
from mahavishnu_pools.schemas.kubernetes_parts import DEFAULT_USER
from mahavishnu_pools.worker_types import BUILT_IN
from tests.structure.source_tree import ROOT

TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")

#: Instructions with what follows them, lines that go on joined.
INSTRUCTIONS = [
    (line.split()[0], line.partition(" ")[2].strip())
    for line in re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", TEXT)).splitlines()
    if line.strip()
]


def stages() -> dict[str, list[tuple[str, str]]]:
    """Return the instructions of each stage by its name; the last one is ``""``."""
    found: dict[str, list[tuple[str, str]]] = {}
    for word, rest in INSTRUCTIONS:
        if word == "FROM":
            found[(re.findall(r" AS (\S+)", rest) or [""])[0]] = current = [(word, rest)]
        elif found:
            current.append((word, rest))
    return found


def last(stage: str, word: str) -> str:
    return next(rest for name, rest in reversed(stages()[stage]) if name == word)


def test_the_file_has_only_instructions_that_exist_and_names_stages_before_it_uses_them() -> None:
    known = {"ARG", "FROM", "RUN", "COPY", "ENV", "USER", "WORKDIR", "CMD"}
    seen: list[str] = []

    assert {word for word, _ in INSTRUCTIONS} <= known
    for stage, instructions in stages().items():
        for word, rest in instructions:
            for source in re.findall(r"--from=(\S+)", rest):
                assert source in seen
            if word == "FROM" and ":" not in rest:
                assert rest.split()[0] in seen
        seen.append(stage)


def test_nothing_that_is_shipped_runs_as_root() -> None:
    assert last("worker", "USER") == f"{DEFAULT_USER}:{DEFAULT_USER}"
    assert stages()["ai"][0][1].startswith("worker ")
    assert stages()[""] == [("FROM", "worker")]
    assert [rest for name in ("ai", "") for word, rest in stages()[name] if word == "USER"] == []


def test_images_and_tools_are_small_and_come_with_versions() -> None:
    bases = [rest for word, rest in INSTRUCTIONS if word == "FROM" and ":" in rest]

    assert all(re.match(r"(python|node):\$\{\w+_VERSION\}-slim ", base) for base in bases)
    installs = [rest for word, rest in INSTRUCTIONS if word == "RUN" and "apt-get install" in rest]
    assert all("--no-install-recommends" in one and "rm -rf /var/lib/apt/lists" in one for one in installs)
    assert "ADD" not in TEXT.split()
    assert "sudo" not in TEXT


def test_it_runs_what_a_deployment_runs_in_the_directories_a_deployment_mounts() -> None:
    command = yaml.safe_load(last("worker", "CMD"))

    assert tuple(command) == deployments.COMMAND
    assert last("worker", "WORKDIR") == deployments.WORK
    made = next(rest for word, rest in stages()["worker"] if word == "RUN")
    assert (
        f"install --directory --owner={DEFAULT_USER} --group={DEFAULT_USER} {deployments.DATA} {deployments.WORK}"
        in made
    )


def test_the_ai_image_has_the_program_of_every_ai_worker_type() -> None:
    installed = next(rest for word, rest in stages()["command-lines"] if word == "RUN")
    packages = {kind.install.split()[-1] for kind in BUILT_IN.values() if kind.ai and kind.install.startswith("npm")}

    assert len(packages) == 4
    assert [name for name in packages if f"{name}@" not in installed] == []


def test_what_is_copied_is_not_ignored_and_secrets_are() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [name for word, rest in stages()["build"] if word == "COPY" for name in rest.split()[:-1]]

    assert ignored[1] == "*"
    assert [name for name in copied if f"!{name}" not in ignored or not (ROOT / name).exists()] == []
    assert [line for line in ignored if line.startswith("!") and (".env" in line or ".git" in line)] == []


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with what the build stage copies."""
    directory = tmp_path_factory.mktemp("src")
    for word, rest in stages()["build"]:
        if word == "COPY":
            *names, _ = rest.split()
            for name in names:
                source = ROOT / name
                if source.is_dir():
                    shutil.copytree(source, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(source, directory)
    return directory


def test_the_wheel_can_be_made_of_what_is_copied(context: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path)]

    done = subprocess.run([*command, "."], cwd=context, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("mahavishnu_pools-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"mahavishnu_workers/agent/__main__.py", "mahavishnu_workers/agent/probe.py"} <= names


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_environment_is_made_and_its_commands_run(context: Path, tmp_path: Path) -> None:
    """Run the step of the build stage as it stands, with other directories; it asks the package index."""
    step = next(rest for word, rest in stages()["build"] if word == "RUN")
    for place in ("/usr/local/mahavishnu", "/wheels"):
        step = step.replace(place, str(tmp_path / place.strip("/").replace("/", "-")))
    step = re.sub(r"(^|&& )python ", rf"\1{sys.executable} ", step)

    done = subprocess.run(["sh", "-ec", step], cwd=context, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr[-3000:]
    programs = tmp_path / "usr-local-mahavishnu" / "bin"
    env = {"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(tmp_path), "MAHAVISHNU_DATA_DIR": str(tmp_path)}
    for command, code in (
        (["mahavishnu", "version"], 0),
        ([*deployments.COMMAND, "--help"], 0),
        ([*deployments.PROBE, "alive"], 1),
        (["celery", "--version"], 0),
    ):
        ran = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False)
        assert ran.returncode == code, (command, ran.stderr)
