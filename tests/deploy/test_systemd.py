"""The unit files in ``deploy/systemd`` are valid, start what compose starts, and let running tasks end."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from mahavishnu_pools.embedded.parts import PARTS
from mahavishnu_pools.settings import Settings
from tests.fixtures.compose import ROOT, project
from tests.waiting import eventually

UNITS = {path.stem: path for path in sorted((ROOT / "deploy" / "systemd").glob("*.service"))}

#: Where the units expect the environment with the package.
PROGRAMS = "/usr/local/lib/mahavishnu/bin/"

#: Units whose process starts worker groups.
WITH_WORKERS = ("mahavishnu", "mahavishnu-agent")

each_unit = pytest.mark.parametrize("name", UNITS)


def unit(name: str) -> dict[str, str]:
    """Return the section ``Service`` of a unit; of a key that stands there twice, the values one after the other."""
    found: dict[str, str] = {}
    for line in (
        UNITS[name].read_text(encoding="utf-8").partition("[Service]")[2].partition("[Install]")[0].splitlines()
    ):
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found[key] = f"{found[key]} {value}" if key in found else value
    return found


def command(name: str) -> list[str]:
    """Return the command of a unit without the place of its program."""
    program, *arguments = shlex.split(unit(name)["ExecStart"])
    assert program.startswith(PROGRAMS)
    return [program.removeprefix(PROGRAMS), *arguments]


def test_there_is_one_for_one_machine_and_one_for_each_part_of_several() -> None:
    assert set(UNITS) == {"mahavishnu", *(f"mahavishnu-{part}" for part in ("agent", "beat", "server", "flower"))}


@each_unit
def test_it_can_be_read_and_names_no_key_twice(name: str) -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]

    parser.read(UNITS[name], encoding="utf-8")

    assert parser.sections() == ["Unit", "Service", "Install"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    copies = []
    for name, path in UNITS.items():
        copies.append(tmp_path / f"{name}.service")
        copies[-1].write_text(path.read_text().replace(PROGRAMS, f"{Path(sys.executable).parent}/"))

    done = subprocess.run(["systemd-analyze", "verify", *copies], capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stderr) == (0, "")


@each_unit
def test_it_runs_without_root_comes_back_and_keeps_secrets_in_a_file(name: str) -> None:
    given = unit(name)

    assert given["User"] == "mahavishnu"
    assert given["Restart"] == "always"
    assert given["NoNewPrivileges"] == "yes"
    assert given["EnvironmentFile"].lstrip("-") == "/etc/mahavishnu/mahavishnu.env"
    assert not re.search(r"PASSWORD|TOKEN|KEY|REDIS_URL", given["Environment"])


@pytest.mark.parametrize("name", ["agent", "beat", "server", "flower"])
def test_it_starts_what_compose_starts(name: str) -> None:
    composed = project()["services"][name]["command"]
    places = ("--host", "0.0.0.0", "--port", "8680", "5555", "--data-dir", "/var/lib/mahavishnu")

    assert command(f"mahavishnu-{name}") == [word for word in composed if word not in places]


@pytest.mark.parametrize("name", WITH_WORKERS)
def test_what_runs_may_end(name: str) -> None:
    given, settings = unit(name), Settings.model_fields
    drain = settings["drain_timeout"].default + settings["kill_grace"].default
    stops = {part.name: part.stop_seconds for part in PARTS}
    longest = sum(stops.values()) if name == "mahavishnu" else stops["agent"]

    assert given["KillMode"] == "mixed"
    assert given["OOMPolicy"] == "continue"
    assert float(given["TimeoutStopSec"]) >= drain + longest
    assert int(given["TasksMax"]) >= 10_000


@pytest.mark.slow
def test_the_unit_of_one_machine_runs_a_stack_and_ends_all_of_it(tmp_path: Path, valkey_binary: Path) -> None:
    ((key, value),) = (word.split("=") for word in unit("mahavishnu")["Environment"].split())
    assert (key, value) == ("XDG_DATA_HOME", "/var/lib")
    programs = Path(sys.executable).parent
    # Without the servers, whose standard ports may be in use here.
    off = {f"MAHAVISHNU_{name}": "off" for name in ("SERVER", "FLOWER", "EMBEDDED_SESSION_BUDDY", "EMBEDDED_AKOSHA")}
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), key: str(tmp_path), **off}
    program, *arguments = command("mahavishnu")

    process = subprocess.Popen([programs / program, *arguments], env=env, cwd=tmp_path, stdin=subprocess.DEVNULL)
    try:
        asked = [programs / program, "status", "--data-dir", tmp_path / "mahavishnu"]
        eventually(
            lambda: subprocess.run(asked, env=env, capture_output=True, timeout=60).returncode,
            until=lambda code: code == 0,
            within=60,
        )
        family = psutil.Process(process.pid).children(recursive=True) or _of_stack(tmp_path / "mahavishnu")
        process.terminate()

        assert process.wait(float(unit("mahavishnu")["TimeoutStopSec"])) == 0
        assert family != []
        assert _of_stack(tmp_path / "mahavishnu") == []
    finally:
        subprocess.run([programs / program, "down"], env=env, capture_output=True, timeout=60)
        process.kill()
        process.wait(30)


def _of_stack(data_dir: Path) -> list[psutil.Process]:
    found = []
    for one in psutil.process_iter():
        try:
            if one.environ().get("MAHAVISHNU_STACK") == str(data_dir) and one.status() != psutil.STATUS_ZOMBIE:
                found.append(one)
        except psutil.Error:
            continue
    return found
