"""The dashboard is what the table of panels says, asks for metrics that there are, and is taken by Grafana's API."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from mahavishnu_pools import errors
from mahavishnu_pools.metrics import deploying
from mahavishnu_pools.metrics.definitions import METRICS
from tests.metrics.dashboard import TARGET, UID, dashboard_json
from tests.metrics.panels import ROWS

#: The rows of the command line's document and the panels of its index.
ROW_TITLES = (
    "Pool Overview", "Worker Metrics", "Task Execution", "Pool Health", "Task Distribution", "System Throughput",
    "Pool Utilization", "Latency Metrics", "Error Tracking", "Memory Usage", "Routing Statistics", "Scaling Events",
    "Task History", "Pool Comparison", "Alert Summary",
)  # fmt: skip
INDEX_TITLES = {
    "Pool Overview", "Worker Metrics", "Task Execution Metrics", "Task Success Rate", "Pool Health Status",
    "Task Distribution by Pool", "Task Distribution by Type", "System Throughput", "Pool Utilization Heatmap",
    "Task Execution Latency", "Error Rate by Pool", "Memory Usage by Pool", "Routing Strategy Distribution",
    "Scaling Events", "Task Queue Size",
}  # fmt: skip


DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def known_names() -> set[str]:
    names = {metric.exposed for metric in METRICS}
    for metric in METRICS:
        if metric.kind == "histogram":
            names |= {f"{metric.name}_sum", f"{metric.name}_count"}
    return names


def asked(text: str) -> set[str]:
    return set(re.findall(r"\b(?:mahavishnu_pools|celery)_[a-z0-9_]+", text))


def test_the_dashboard_in_the_package_is_the_one_that_the_script_makes() -> None:
    assert TARGET.read_text(encoding="utf-8") == dashboard_json(), "run python -m tests.metrics.dashboard"


def test_it_has_the_fifteen_rows_and_the_panels_that_were_promised() -> None:
    found = json.loads(dashboard_json())
    panels = found["panels"]

    assert found["uid"] == UID == "pool-monitoring"
    assert tuple(panel["title"] for panel in panels if panel["type"] == "row") == ROW_TITLES
    assert {panel["title"] for panel in panels if panel["type"] != "row"} >= INDEX_TITLES
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    assert len({(place["x"], place["y"]) for place in places}) == len(places)


def test_it_stays_small_and_every_query_asks_for_metrics_that_there_are() -> None:
    text = deploying.dashboard_text()

    assert len(text) < 200_000
    expressions = [query for row in ROWS for panel in row.panels for query, _ in panel.queries]
    assert len(expressions) > 50
    assert asked(" ".join(expressions)) <= known_names()


def test_every_metric_of_ours_is_shown_or_watched_or_named_here() -> None:
    shown = asked(" ".join(q for row in ROWS for panel in row.panels for q, _ in panel.queries))
    watched = asked(deploying.alerts_text())
    ours = {metric.exposed: metric for metric in METRICS if metric.name.startswith("mahavishnu_pools_")}

    left = set(ours) - shown - watched
    # For people who look something up; nothing to be seen at a glance.
    assert left == {
        f"mahavishnu_pools_{name}"
        for name in (
            "workers_min", "group_restarts_total", "delayed_tasks", "suspect_tasks", "kept_dead_letters",
            "lost_groups_total", "ai_tokens_total", "cool_down_seconds", "leases",
            "memory_sync_delivered_records_total", "memory_sync_refused_records_total",
            "memory_sync_set_aside_records", "memory_sync_failures",
            "bus_messages_total", "mailbox_messages", "redis_clients", "build_info",
        )
    }  # fmt: skip


def test_alert_rules_ask_for_metrics_that_there_are() -> None:
    rules = yaml.safe_load(deploying.alerts_text())["groups"][0]["rules"]

    assert asked(" ".join(rule["expr"] for rule in rules)) <= known_names()
    assert all(rule["labels"]["severity"] in ("warning", "critical") for rule in rules)


def test_prometheus_in_a_container_scrapes_the_server_and_reads_the_rules() -> None:
    found = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())

    (job,) = found["scrape_configs"]
    assert (job["metrics_path"], job["static_configs"]) == ("/metrics", [{"targets": ["server:8680"]}])
    assert found["rule_files"] == ["/etc/prometheus/alerts.yml"]


def test_grafana_in_a_container_finds_prometheus_and_the_dashboard() -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "mahavishnu.yml").read_text())["providers"]

    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"


class Grafana:
    """Answers as Grafana's API does and keeps what it was sent."""

    def __init__(self, answer: tuple[int, bytes, dict[str, str]]) -> None:
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.requests.append((self.path, dict(self.headers), json.loads(body)))
                status, text, headers = answer
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(text))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                return

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def grafana() -> Iterator[Callable[..., Grafana]]:
    made: list[Grafana] = []

    def start(status: int, text: bytes, headers: dict[str, str] | None = None) -> Grafana:
        made.append(Grafana((status, text, headers or {})))
        return made[-1]

    yield start
    for one in made:
        one.close()


def test_deploying_puts_the_dashboard_over_an_older_one(grafana: Callable[..., Grafana]) -> None:
    server = grafana(200, json.dumps({"url": "/d/pool-monitoring/mahavishnu-pools"}).encode())

    where = deploying.deploy_dashboard(server.url + "/", "a-token", folder="ops")

    ((path, headers, body),) = server.requests
    assert where == f"{server.url}/d/pool-monitoring/mahavishnu-pools"
    assert (path, headers["Authorization"]) == ("/api/dashboards/db", "Bearer a-token")
    assert (body["overwrite"], body["folderUid"], body["dashboard"]["uid"]) == (True, "ops", UID)


@pytest.mark.parametrize(
    ("status", "text"), [(401, b'{"message": "Unauthorized"}'), (302, b""), (500, b"<html>"), (412, b'["x"]')]
)
def test_a_refusal_says_what_grafana_said_and_a_redirect_gets_no_token(
    grafana: Callable[..., Grafana], status: int, text: bytes
) -> None:
    other = grafana(200, b"{}")
    server = grafana(status, text, {"Location": other.url})

    with pytest.raises(errors.RemoteRefused, match=str(status)):
        deploying.deploy_dashboard(server.url, "t")

    assert other.requests == []


@pytest.mark.parametrize(
    "url", ["", "localhost:3000", "ftp://x", "http://", "http://u:p@x", "http://x:99999", "http://x?q=1"]
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(errors.InvalidField):
        deploying.deploy_dashboard(url, "t")


def test_a_server_that_is_not_there_is_named(grafana: Callable[..., Grafana]) -> None:
    server = grafana(200, b"{}")
    server.close()

    with pytest.raises(errors.RemoteUnavailable, match="does not answer"):
        deploying.deploy_dashboard(server.url, "t")


def test_the_command_prints_the_dashboard_and_the_rules_as_they_are(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "mahavishnu_pools.cli.main", "dashboard", "export"]

    printed = subprocess.run(program, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    subprocess.run([*program, "--alerts", "-o", str(tmp_path / "a.yml")], check=True, stdin=subprocess.DEVNULL)

    assert json.loads(printed.stdout)["uid"] == UID
    assert (tmp_path / "a.yml").read_text() == deploying.alerts_text()
