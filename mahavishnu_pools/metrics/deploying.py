"""The dashboard and the alert rules as files of this package, and sending the dashboard to a Grafana server."""

from __future__ import annotations

import json
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from importlib import resources
from typing import Any
from urllib.parse import SplitResult, urlsplit

from mahavishnu_pools import errors

#: Seconds that Grafana may take to answer.
TIMEOUT = 30.0

#: Bytes of an answer that are read.
_ANSWER_MOST = 100_000


def dashboard_text() -> str:
    """Return the dashboard as Grafana imports it (JSON)."""
    return _text("grafana/pool-monitoring.json")


def alerts_text() -> str:
    """Return the alert rules as Prometheus reads them (YAML)."""
    return _text("prometheus/alerts.yml")


def _text(name: str) -> str:
    return (resources.files("mahavishnu_pools.metrics") / name).read_text(encoding="utf-8")


def deploy_dashboard(url: str, token: str, *, folder: str | None = None) -> str:
    """Put the dashboard on a Grafana server, over an older one of ours, and return its URL.

    ``token`` is one of a service account that may write dashboards; ``folder`` the uid of a folder. A redirect is not
    followed: the token is for the server that was named.

    Raises:
        InvalidField: the URL or the token cannot be used.
        RemoteUnavailable: nothing answers there.
        RemoteRefused: it does not take the dashboard.
    """
    where = _split(url)
    if not token or not token.isascii() or not token.isprintable():
        raise errors.InvalidField.of("token", "cannot be sent", "Make one for a service account in Grafana.")
    body: dict[str, Any] = {"dashboard": json.loads(dashboard_text()), "overwrite": True}
    if folder is not None:
        body["folderUid"] = folder
    status, answer = _post(where, f"{where.path.rstrip('/')}/api/dashboards/db", token, json.dumps(body).encode())
    if status != 200:
        raise errors.RemoteRefused(f"Grafana at {_shown(where)} refused the dashboard ({status}): {_reason(answer)}")
    path = _json(answer).get("url")
    return f"{where.scheme}://{where.netloc}{path}" if isinstance(path, str) else _shown(where)


def _split(url: str) -> SplitResult:
    try:
        where = urlsplit(url)
        usable = where.scheme in ("http", "https") and where.hostname and (where.port is None or where.port > 0)
    except ValueError:
        usable = False
    if not usable or where.username is not None or where.query or where.fragment:
        raise errors.InvalidField.of("url", f"{url!r} is none of a server", "Write it like http://localhost:3000.")
    return where


def _post(where: SplitResult, path: str, token: str, body: bytes) -> tuple[int, bytes]:
    kind = HTTPSConnection if where.scheme == "https" else HTTPConnection
    connection = kind(str(where.hostname), where.port, timeout=TIMEOUT)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read(_ANSWER_MOST)
    except (OSError, HTTPException) as exc:
        raise errors.RemoteUnavailable(f"Grafana at {_shown(where)} does not answer: {exc}") from exc
    finally:
        connection.close()


def _shown(where: SplitResult) -> str:
    return f"{where.scheme}://{where.netloc}{where.path.rstrip('/')}"


def _json(answer: bytes) -> dict[str, Any]:
    try:
        found = json.loads(answer)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _reason(answer: bytes) -> str:
    return str(_json(answer).get("message") or answer[:200].decode("utf-8", errors="replace") or "it says no reason")
