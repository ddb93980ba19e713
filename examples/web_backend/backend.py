"""A web back end in synchronous code: it sends prompts to a pool and tells how they are doing. Standard library only.

``run_task`` is a Celery task, so Flask, Django and the like use it the same way.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import make_server

from mahavishnu_pools import errors
from mahavishnu_pools.celery import run_task

POOL = os.environ.get("POOL", "web")

Start = Callable[[str, list[tuple[str, str]]], object]


def application(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    """Answer POST /tasks (JSON: prompt, and key if one is to run once) and GET /tasks/ID."""
    method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "/")
    try:
        if method == "POST" and path == "/tasks":
            status, body = "202 Accepted", submit(read_json(environ))
        elif method == "GET" and path.startswith("/tasks/"):
            status, body = "200 OK", look(path.removeprefix("/tasks/"))
        else:
            status, body = "404 Not Found", {"error": "POST /tasks or GET /tasks/ID"}
    except (errors.InvalidInput, ValueError) as exc:
        status, body = "400 Bad Request", {"error": str(exc)}
    except errors.Unavailable as exc:  # no stack, no pool that could run it
        status, body = "503 Service Unavailable", {"error": str(exc)}
    start_response(status, [("Content-Type", "application/json")])
    return [json.dumps(body).encode()]


def submit(asked: dict[str, Any]) -> dict[str, Any]:
    """Send a prompt and return at once; two requests with the same key are one task."""
    task = {"prompt": asked.get("prompt"), "idempotency_key": asked.get("key")}
    return {"id": run_task.apply_async((task,), pool=POOL).id}


def look(task_id: str) -> dict[str, Any]:
    """Tell how a task is doing; an id that nobody knows is PENDING, as always with Celery."""
    result = run_task.AsyncResult(task_id)
    state, value = result.state, result.result
    if state == "SUCCESS":
        return {"state": state, "output": value["output"]}
    return {"state": state, "error": str(value)} if state in ("FAILURE", "REVOKED") else {"state": state}


def read_json(environ: dict[str, Any]) -> dict[str, Any]:
    found = json.loads(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
    if not isinstance(found, dict):
        raise ValueError("The body must be a JSON object.")
    return found


if __name__ == "__main__":
    with make_server("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8000, application) as server:
        print(f"http://127.0.0.1:{server.server_port}/tasks", flush=True)
        server.serve_forever()
