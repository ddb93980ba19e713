"""From options to a task: texts from files and standard input, JSON payloads, what is missing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mahavishnu_pools import errors
from mahavishnu_pools.cli.shell_words import warn_of_shell_words
from mahavishnu_pools.wording import short

if TYPE_CHECKING:
    from mahavishnu_pools.routing.eligibility import PoolFilter


@dataclass(frozen=True, slots=True)
class TaskInput:
    """The task options as they were given; None and empty mean "not given"."""

    prompt: str | None
    task_type: str | None
    payload: str | None
    timeout: float | None
    priority: int | None
    idempotency_key: str | None
    cwd: str | None
    env: tuple[str, ...] = field(repr=False)
    worker_type: str | None
    wait_timeout: float | None
    no_wait: bool
    session: str | None = None
    approval: str | None = None
    approval_timeout: float | None = None
    after: tuple[str, ...] = ()
    on_parent_failure: str | None = None
    isolation: str | None = None
    needs: tuple[str, ...] = ()
    max_retries: int | None = None
    expires: float | None = None
    on_worker_lost: str | None = None

    def task(self, *, directory: Callable[[], str | None]) -> dict[str, Any]:
        """Return the task as the manager takes it, with only what was given; ``directory`` is for one without ``cwd``.

        Raises:
            InvalidField: something is missing, contradicts, cannot be read or is no JSON; the message names the option.
        """
        if self.on_parent_failure is not None and not self.after:
            raise errors.InvalidField.of(
                "--on-parent-failure", "goes with --after", "Name the tasks it comes after, or leave it out."
            )
        work = self._work()
        given = {
            "timeout": self.timeout,
            "priority": self.priority,
            "idempotency_key": self.idempotency_key,
            "worker_type": self.worker_type,
            "cwd": directory() if self.cwd is None else str(Path(self.cwd).expanduser().absolute()),
            "env": environment(self.env) or None,
            "session": self.session,
            "approval": self.approval,
            "approval_timeout": self.approval_timeout,
            "after": list(self.after or ()) or None,
            "on_parent_failure": self.on_parent_failure,
            "isolation": self.isolation,
            "needs": list(self.needs or ()) or None,
            "max_retries": self.max_retries,
            "expires": self.expires,
            "on_worker_lost": self.on_worker_lost,
        }
        return {**work, **{name: value for name, value in given.items() if value is not None}}

    def _work(self) -> dict[str, Any]:
        if self.prompt is not None:
            if self.payload is not None or self.task_type not in (None, "prompt"):
                raise errors.InvalidField.of(
                    "--prompt", "cannot be used with --task-type and --payload", "Give either the one or the other."
                )
            return {"prompt": _prompt(self.prompt)}
        if self.task_type is None and self.payload is None:
            raise errors.InvalidField.of(
                "--prompt", "is missing, as are --task-type and --payload", "Say what to do with either."
            )
        if self.task_type is None:
            raise errors.InvalidField.of("--task-type", "is missing", "Name the task type the payload is for.")
        if self.payload is None:
            raise errors.InvalidField.of(
                "--payload",
                "is missing",
                f"Give the input of task type {self.task_type!r} as JSON; '{{}}' is an empty one.",
            )
        work = {"task_type": self.task_type, "payload": json_object(self.payload, option="--payload")}
        warn_of_shell_words([work])
        return work


def _prompt(given: str) -> str:
    text = text_of(given, option="--prompt")
    if not text.strip():
        raise errors.InvalidField.of("--prompt", "is empty", "Say what to do.")
    return text


def text_of(given: str, *, option: str) -> str:
    """Return the text itself, that of standard input (``-``) or of a file (``@FILE``); ``@@`` stands for a first ``@``.

    Raises:
        InvalidField: the file cannot be read or is no text; the message names the option.
    """
    if given == "-":
        return _decoded(sys.stdin.buffer.read(), option=option, source="standard input")
    if given.startswith("@@"):
        return given[1:]
    if not given.startswith("@"):
        return given
    path = given[1:]
    try:
        return _decoded(Path(path).expanduser().read_bytes(), option=option, source=path)
    except (OSError, ValueError, RuntimeError) as exc:  # a NUL in the name; a home that nobody has
        reason = os.strerror(exc.errno) if isinstance(exc, OSError) and exc.errno else str(exc)
        raise errors.InvalidField.of(
            option,
            f"{short(path)} cannot be read ({reason})",
            "Name a file, or write @@ for a text that begins with @.",
        ) from exc


def json_object(given: str, *, option: str) -> dict[str, Any]:
    """Return a JSON object from an option's value, which may be ``-`` or ``@FILE``.

    Raises:
        InvalidField: it is no JSON object; the message names the option and the position.
    """
    text = text_of(given, option=option)
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as exc:
        remedy = 'Write it like \'{"file": "a.py"}\'.'
        if "..." in text:
            remedy = "Put real values in place of '...'."
        raise errors.InvalidField.of(
            option, f"is no JSON: {exc.msg} at line {exc.lineno}, column {exc.colno}", remedy
        ) from exc
    except (ValueError, RecursionError) as exc:
        raise errors.InvalidField.of(option, f"is no JSON that can be used ({exc})", "Correct it.") from exc
    if not isinstance(value, dict):
        raise errors.InvalidField.of(option, f"is a JSON {_kind(value)}", "It must be an object: '{\"name\": value}'.")
    return value


def environment(given: Iterable[str]) -> dict[str, str]:
    """Return variables from ``NAME=VALUE`` texts.

    Raises:
        InvalidField: one of them has no name or no equals sign.
    """
    found: dict[str, str] = {}
    for entry in given:
        name, equals, value = entry.partition("=")
        if not name or not equals:
            raise errors.InvalidField.of("--env", f"{short(entry)} is no NAME=VALUE", "Write it like --env DEBUG=1.")
        found[name] = value
    return found


def take_filters(given: dict[str, Any]) -> PoolFilter | None:
    """Take the filter options out of all options and return their filter, None when none was given."""
    wanted = {
        "pool_type": given.pop("pool_filter"),
        "tags": given.pop("tags"),
        "region": given.pop("region"),
        "worker_type": given.pop("pool_worker_type"),
    }
    if not any(wanted.values()):
        return None
    from mahavishnu_pools.routing.eligibility import PoolFilter

    return PoolFilter(**wanted)


def _decoded(data: bytes, *, option: str, source: str) -> str:
    try:
        return data.decode("utf-8-sig")  # editors on Windows begin files with a mark
    except UnicodeDecodeError as exc:
        raise errors.InvalidField.of(
            option, f"{source} holds no UTF-8 text (byte {exc.start})", "Give a text."
        ) from exc


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _kind(value: object) -> str:
    names = {list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "null")
