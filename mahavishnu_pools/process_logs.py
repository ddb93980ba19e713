"""Where the log of a long-running process goes: standard error, as text for people or as JSON lines for programs."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: Variable with the name of the lowest level that is logged.
LEVEL_VARIABLE = "MAHAVISHNU_LOG_LEVEL"

#: Variable with the form: ``text`` or ``json``.
FORMAT_VARIABLE = "MAHAVISHNU_LOG_FORMAT"

#: Variable that a worker group's process has: the pool it works for.
POOL_VARIABLE = "MAHAVISHNU_POOL_ID"

TEXT = "%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"

#: What lines are about, such as a task; they get these as fields.
_about: ContextVar[tuple[tuple[str, str], ...]] = ContextVar("about", default=())


def set_up_logging() -> None:
    """Log to standard error, as the environment says; an unknown level counts as INFO, an unknown form as text."""
    wanted = logging.getLevelName(os.environ.get(LEVEL_VARIABLE, "INFO").upper())
    handler = logging.StreamHandler()
    handler.setFormatter(json_formatter() if wants_json() else logging.Formatter(TEXT))
    logging.basicConfig(level=wanted if isinstance(wanted, int) else logging.INFO, handlers=[handler])
    # A line for each request would hide everything else where prompts are delegated.
    logging.getLogger("httpx").setLevel(logging.WARNING)


def wants_json() -> bool:
    """Tell whether logs are to be JSON lines."""
    return os.environ.get(FORMAT_VARIABLE, "").lower() == "json"


@contextmanager
def about(**ids: str) -> Iterator[None]:
    """Put fields into every JSON line that this thread, or this asyncio task, logs meanwhile."""
    token = _about.set((*_about.get(), *ids.items()))
    try:
        yield
    finally:
        _about.reset(token)


def json_formatter() -> logging.Formatter:
    """Return what makes a JSON object of a record: time (ISO 8601, UTC), level, logger, pid, message, ids."""
    from pythonjsonlogger.json import JsonFormatter

    class Formatter(JsonFormatter):
        def format(self, record: logging.LogRecord) -> str:
            for name, value in (*_about.get(), ("pool_id", os.environ.get(POOL_VARIABLE))):
                if value and not hasattr(record, name):
                    setattr(record, name, value)
            return super().format(record)

    return Formatter(
        "{levelname}{name}{process}{message}",
        style="{",
        rename_fields={"levelname": "level", "name": "logger", "process": "pid", "exc_info": "exception"},
        timestamp="time",
    )
