"""Every service of ``docker-compose.yml`` runs as a process: its command, its health check, its end."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from signal import SIGTERM

import httpx
import pytest

from tests.fixtures.compose import SECRETS, PlainProject
from tests.waiting import eventually

#: All of them together take half a minute.
pytestmark = pytest.mark.slow

#: In the order they are started in.
OURS = ("agent", "beat", "server", "flower", "session-buddy", "akosha")

#: Those of others, where their programs are installed. Grafana has no command of its own in the file.
OTHERS = tuple(name for name in ("prometheus",) if shutil.which(name) and shutil.which("wget"))

ALL = ("redis", *OURS, *OTHERS)


@dataclass(frozen=True)
class Running:
    """The project, and what each health check said before its service was started."""

    project: PlainProject
    before: dict[str, str | None]


@pytest.fixture(scope="module")
def running(plain_project: PlainProject) -> Iterator[Running]:
    """Return the project with all services started in the order of their needs, and healthy.

    At the end it is an error when one does not stop in good order and in its time.
    """
    services = plain_project.services
    before = {name: services[name].complaint() for name in ALL}
    services["redis"].start()
    services["redis"].wait_healthy()
    for name in ALL[1:]:
        services[name].start()
    for name in ALL[1:]:
        services[name].wait_healthy()
    yield Running(plain_project, before)
    ends = {name: services[name].stop() for name in reversed(ALL)}
    assert {name: code for name, code in ends.items() if code not in (0, -SIGTERM)} == {}


def command(running: Running, *arguments: str) -> str:
    """Run a command inside the service ``server``, as ``docker compose exec server`` does."""
    done = subprocess.run(
        ["mahavishnu", *arguments],
        env=running.project.services["server"].env,
        cwd=running.project.directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_service_that_does_not_run_is_not_healthy(running: Running) -> None:
    assert [name for name, complaint in running.before.items() if complaint is None] == []


def test_tasks_run(running: Running) -> None:
    command(running, "pools", "spawn", "--name", "first", "--worker-type", "shell", "--min", "2")

    told = json.loads(command(running, "pools", "execute", "first", "--prompt", "echo hello", "--format", "json"))

    assert told["output"] == "hello\n"
    assert told["worker_id"].endswith("@compose")


def test_pages_ask_who_is_there(running: Running) -> None:
    ports, given = running.project.ports, SECRETS
    server, flower = (f"http://127.0.0.1:{ports[port]}" for port in ("8680", "5555"))
    login, token = ("admin", given["FLOWER_PASSWORD"]), {"Authorization": f"Bearer {given['MAHAVISHNU_SERVER_TOKEN']}"}

    asked = [httpx.get(f"{flower}/api/workers"), httpx.post(f"{server}/mcp", json={})]
    known = [httpx.get(f"{flower}/api/workers", auth=login), httpx.post(f"{server}/mcp", json={}, headers=token)]

    assert [answer.status_code for answer in asked] == [401, 401]
    assert [answer.status_code for answer in known] != [401, 401]
    assert known[0].status_code == 200
    assert httpx.get(f"{server}/metrics").status_code == 200


@pytest.mark.skipif("prometheus" not in OTHERS, reason="no prometheus here")
def test_prometheus_scrapes_the_server_and_has_the_alert_rules(running: Running) -> None:
    api = f"http://127.0.0.1:{running.project.ports['9090']}/api/v1"

    def target() -> str:
        (found,) = httpx.get(f"{api}/targets").json()["data"]["activeTargets"]
        return str(found["health"])

    eventually(target, until=lambda health: health == "up", within=60)
    assert httpx.get(f"{api}/rules").json()["data"]["groups"] != []
