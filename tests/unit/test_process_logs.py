"""The log of long-running processes as JSON lines: what a line holds, and what it is about."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from mahavishnu_pools import process_logs
from mahavishnu_pools.process_logs import about


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """Collect what the logger ``shown`` writes as JSON."""
    found: list[dict[str, Any]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(json.loads(self.format(record)))

    handler, logger = Keep(), logging.getLogger("shown")
    handler.setFormatter(process_logs.json_formatter())
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)


def test_a_line_says_when_where_what_and_about_which_pool(lines: list[dict[str, Any]]) -> None:
    logging.getLogger("shown").warning("Pool %s\nis full", "a", extra={"action": "scale", "pool_id": "pool_1"})

    [line] = lines
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "WARNING",
        "logger": "shown",
        "pid": os.getpid(),
        "message": "Pool a\nis full",
        "action": "scale",
        "pool_id": "pool_1",
    }


def test_lines_of_a_thread_are_about_its_task_and_others_are_not(lines: list[dict[str, Any]]) -> None:
    logger = logging.getLogger("shown")

    def work(task_id: str) -> None:
        with about(task_id=task_id), about(attempt="2"):
            logger.warning("runs")

    for task_id in ("t1", "t2"):
        thread = threading.Thread(target=work, args=(task_id,))
        thread.start()
        thread.join()
    logger.warning("done")

    assert [(line.get("task_id"), line.get("attempt")) for line in lines] == [("t1", "2"), ("t2", "2"), (None, None)]


def test_a_group_s_lines_are_about_its_pool(lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(process_logs.POOL_VARIABLE, "pool_9")

    logging.getLogger("shown").warning("x")

    assert lines[0]["pool_id"] == "pool_9"


def test_an_exception_is_one_field(lines: list[dict[str, Any]]) -> None:
    try:
        raise ValueError("odd")
    except ValueError:
        logging.getLogger("shown").exception("It failed")

    assert lines[0]["message"] == "It failed"
    assert lines[0]["exception"].endswith("ValueError: odd")


@pytest.mark.parametrize(("form", "is_json"), [("json", True), ("JSON", True), ("text", False), ("", False)])
def test_the_environment_chooses_the_form_and_the_level(form: str, is_json: bool) -> None:
    code = (
        "import logging; from mahavishnu_pools.process_logs import set_up_logging; set_up_logging(); "
        "logging.info('quiet'); logging.warning('loud')"
    )
    env = {**os.environ, "MAHAVISHNU_LOG_FORMAT": form, "MAHAVISHNU_LOG_LEVEL": "warning"}

    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True, timeout=60)

    [line] = done.stderr.splitlines()
    assert line.endswith(": loud") != is_json
    assert not is_json or json.loads(line)["message"] == "loud"
