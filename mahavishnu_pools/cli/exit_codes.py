"""The one place that says which error ends the program with which exit code, and how it is told."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import click

from mahavishnu_pools import errors

if TYPE_CHECKING:
    from mahavishnu_pools.schemas.task import TaskResult


class ExitCode(IntEnum):
    """How the program ends. A task that ran into its own ``timeout`` has failed; TIMEOUT is the end of our waiting."""

    DONE = 0
    TASK_FAILED = 1
    BAD_INPUT = 2
    NOT_FOUND = 3
    UNAVAILABLE = 4
    TIMEOUT = 5
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as it is shown: the exit code, a stable name, one sentence, data."""

    exit_code: ExitCode
    code: str
    message: str
    details: dict[str, Any] = field(default_factory=dict)

    def data(self) -> dict[str, Any]:
        """Return the failure as JSON data."""
        return {"error": {"code": self.code, "message": self.message, "details": self.details}}


#: Areas of our own errors; the first that fits counts.
_AREAS: tuple[tuple[type[errors.MahavishnuError], ExitCode], ...] = (
    (errors.InvalidInput, ExitCode.BAD_INPUT),
    (errors.NotFound, ExitCode.NOT_FOUND),
    (errors.Unavailable, ExitCode.UNAVAILABLE),
    (errors.WaitTimeout, ExitCode.TIMEOUT),
    (errors.TaskOutcomeError, ExitCode.TASK_FAILED),
)

#: Exit code of ``pools health``.
HEALTH = {"healthy": ExitCode.DONE, "degraded": ExitCode.TASK_FAILED, "unhealthy": ExitCode.TASK_FAILED}


def failure_of(exc: BaseException) -> Failure | None:
    """Return how an error is told; None for one that nobody foresaw."""
    if isinstance(exc, errors.MahavishnuError):
        return Failure(_code_of(exc), exc.code, exc.message, exc.details())
    if isinstance(exc, (click.Abort, KeyboardInterrupt)) or _is_cancelled(exc):
        return Failure(ExitCode.INTERRUPTED, "interrupted", "Interrupted.")
    if isinstance(exc, click.UsageError):
        return Failure(ExitCode.BAD_INPUT, "usage", exc.format_message(), _usage_details(exc))
    if isinstance(exc, click.ClickException):
        return Failure(ExitCode.BAD_INPUT, "usage", exc.format_message())
    return None


def code_of_result(result: TaskResult) -> ExitCode:
    """Return the exit code for a task's outcome."""
    return ExitCode.DONE if result.ok else ExitCode.TASK_FAILED


def _is_cancelled(exc: BaseException) -> bool:
    # Who has not imported asyncio, which takes its time, has cancelled nothing.
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and isinstance(exc, asyncio.CancelledError)


def _code_of(exc: errors.MahavishnuError) -> ExitCode:
    return next((code for area, code in _AREAS if isinstance(exc, area)), ExitCode.TASK_FAILED)


def _usage_details(exc: click.UsageError) -> dict[str, Any]:
    command = exc.ctx.command_path if exc.ctx is not None else None
    parameter = getattr(exc, "param", None)
    option = getattr(exc, "option_name", None) or (max(parameter.opts, key=len) if parameter is not None else None)
    return {name: value for name, value in (("command", command), ("option", option)) if value is not None}
