"""``docker-compose.yml`` says what it should: it is valid, opens no door, has no password, and stops in good order."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from mahavishnu_pools.embedded.parts import PARTS
from mahavishnu_pools.settings import Settings
from tests.fixtures.compose import FILE, ROOT, SECRETS, MissingVariable, interpolated, project

TEXT = FILE.read_text(encoding="utf-8")
PROJECT = project()
SERVICES: dict[str, Any] = PROJECT["services"]

each_service = pytest.mark.parametrize("name", SERVICES)


def test_it_has_the_whole_system() -> None:
    assert set(SERVICES) == {
        *("redis", "agent", "beat", "server", "flower", "session-buddy", "akosha", "prometheus", "grafana")
    }


def test_it_keeps_to_the_compose_specification() -> None:
    PyCompose.from_yaml(yaml.safe_dump(PROJECT)).validate()


def test_what_keeps_not_to_the_specification_is_found() -> None:
    wrong = yaml.safe_load(yaml.safe_dump(PROJECT))
    wrong["services"]["agent"]["helthcheck"] = {}

    with pytest.raises(ValueError, match="helthcheck"):
        PyCompose.from_yaml(yaml.safe_dump(wrong))


def _compose() -> list[str] | None:
    """Return the command of the real program, None where there is none."""
    if shutil.which("docker") and subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0:
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


@pytest.mark.skipif(_compose() is None, reason="no docker compose here")
def test_compose_itself_reads_it_and_refuses_without_passwords(tmp_path: Path) -> None:
    command = [*(_compose() or ()), "--project-directory", str(tmp_path), "--file", str(FILE), "config"]
    bare = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}

    good = subprocess.run(command, env={**bare, **SECRETS}, capture_output=True, text=True, timeout=60)
    refused = subprocess.run(command, env=bare, capture_output=True, text=True, timeout=60)

    assert good.returncode == 0, good.stderr
    assert set(yaml.safe_load(good.stdout)["services"]) == set(SERVICES)
    assert refused.returncode != 0
    assert "fill in .env" in refused.stderr


@pytest.mark.parametrize("name", SECRETS)
def test_without_a_secret_it_is_refused(name: str) -> None:
    for given in ({}, {name: ""}):
        with pytest.raises(MissingVariable, match=f"{name} is empty, fill in .env"):
            project({**{key: value for key, value in SECRETS.items() if key != name}, **given})


def test_no_password_stands_in_it() -> None:
    raw = yaml.safe_load(TEXT)["services"]
    secret = re.compile(r"PASSWORD|TOKEN|AUTH|KEY|REDIS_URL")

    for name, given in raw.items():
        for key, value in (given.get("environment") or {}).items():
            if secret.search(key) and value is not None:
                assert interpolated(value, SECRETS) != interpolated(value, {**SECRETS, **_others()}), f"{name}: {key}"


def _others() -> dict[str, str]:
    return {**dict.fromkeys(SECRETS, "another"), "MAHAVISHNU_MESSAGE_SIGNING_KEY": "another"}


def test_the_example_of_env_names_what_is_used_and_gives_no_secret() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    named = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", example, re.MULTILINE))
    used = set(re.findall(r"\$\{(\w+)", TEXT)) | {"ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"}
    defaults = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", TEXT))

    assert set(named) == used
    assert set(re.findall(r"^([A-Z_]+)=$", example, re.MULTILINE)) == set(SECRETS)
    assert {name: value for name, value in named.items() if value} == {k: v for k, v in defaults.items() if v}


@each_service
def test_ports_are_of_this_machine_alone(name: str) -> None:
    for port in SERVICES[name].get("ports", ()):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)


@each_service
def test_it_is_watched_comes_back_and_has_no_rights_it_does_not_need(name: str) -> None:
    given = SERVICES[name]

    assert given["restart"] == "unless-stopped"
    assert given["cap_drop"] == ["ALL"]
    assert given["security_opt"] == ["no-new-privileges:true"]
    assert given["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert {"interval", "timeout", "retries", "start_period"} <= set(given["healthcheck"])


@each_service
def test_it_waits_for_what_it_needs_to_be_healthy(name: str) -> None:
    needed = SERVICES[name].get("depends_on", {})

    assert needed or name == "redis"
    assert all(one in SERVICES and how == {"condition": "service_healthy"} for one, how in needed.items())


@each_service
def test_what_it_mounts_is_there(name: str) -> None:
    for volume in SERVICES[name].get("volumes", ()):
        source, target, *mode = volume.split(":")
        assert target.startswith("/")
        assert (ROOT / source).exists() if source.startswith("./") else source in PROJECT["volumes"]
        assert not source.startswith("./") or mode == ["ro"]


@pytest.mark.parametrize("target", ["worker", "ai"])
def test_ours_are_built_from_a_target_there_is(target: str) -> None:
    stages = re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    ours = [
        given for given in project({**SECRETS, "MAHAVISHNU_TARGET": target})["services"].values() if "build" in given
    ]

    assert {given["build"]["target"] for given in ours} == {target}
    assert target in stages
    assert len(ours) == 6


def test_every_volume_is_used() -> None:
    used = {volume.split(":")[0] for given in SERVICES.values() for volume in given.get("volumes", ())}

    assert {volume for volume in used if not volume.startswith("./")} == set(PROJECT["volumes"])


@each_service
def test_images_of_others_have_a_version(name: str) -> None:
    given = SERVICES[name]
    tag = given["image"].rpartition(":")[2]

    assert "build" in given or re.match(r"v?\d+", tag)


@each_service
def test_it_has_time_to_stop(name: str) -> None:
    grace = float(SERVICES[name]["stop_grace_period"].removesuffix("s"))
    part = next((part for part in PARTS if part.name == name), None)
    settings = Settings.model_fields
    drain = settings["drain_timeout"].default + settings["kill_grace"].default if name == "agent" else 0

    assert grace >= drain + (part.stop_seconds if part else 5.0)


def test_the_agent_gets_the_drain_timeout_its_grace_is_for() -> None:
    raised = project({**SECRETS, "MAHAVISHNU_DRAIN_TIMEOUT": "600", "AGENT_STOP_GRACE": "640s"})["services"]["agent"]

    assert raised["environment"]["MAHAVISHNU_DRAIN_TIMEOUT"] == "600"
    assert raised["stop_grace_period"] == "640s"
    settings = Settings.model_fields["drain_timeout"]
    assert SERVICES["agent"]["environment"]["MAHAVISHNU_DRAIN_TIMEOUT"] == f"{settings.default:g}"


def test_every_setting_it_gives_exists() -> None:
    own = {"MAHAVISHNU_LOG_FORMAT", "MAHAVISHNU_LOG_LEVEL"}
    known = {f"MAHAVISHNU_{name.upper()}" for name in Settings.model_fields} | own

    for given in SERVICES.values():
        named = {key for key in given.get("environment", {}) if key.startswith("MAHAVISHNU_")}
        assert named <= known


def test_grafana_and_prometheus_find_their_files_where_they_are_mounted() -> None:
    mounted = {volume.split(":")[1] for name in ("prometheus", "grafana") for volume in SERVICES[name]["volumes"]}
    scraping = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    provisioning = ROOT / "deploy" / "grafana" / "provisioning"
    boards = yaml.safe_load((provisioning / "dashboards" / "mahavishnu.yml").read_text(encoding="utf-8"))
    sources = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text(encoding="utf-8"))

    assert set(scraping["rule_files"]) <= mounted
    assert {one["options"]["path"] for one in boards["providers"]} <= mounted
    assert [one["url"] for one in sources["datasources"]] == ["http://prometheus:9090"]
    assert {job["static_configs"][0]["targets"][0] for job in scraping["scrape_configs"]} == {"server:8680"}


def test_beat_is_started_as_in_the_local_stack() -> None:
    part = next(part for part in PARTS if part.name == "beat")

    assert SERVICES["beat"]["command"] == list(part.argv[3:])
