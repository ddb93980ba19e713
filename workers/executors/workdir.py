"""Where a task runs: the directory it names, the worker's default, or a fresh one that is removed afterwards."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from mahavishnu_pools.worktrees.removing import remove_directory

from ..fresh_directories import make_fresh
from .interface import Refused, RunContext

logger = logging.getLogger(__name__)

#: The service that says that workers are in Pods: nobody sends tasks from there, so other directories are not meant.
IN_PODS = "in_pods"

#: What allows a directory, as the end of a sentence.
TO_ALLOW = (
    "allow this one: for a pool with --allowed-root, for a node with the setting allowed_roots, for a local stack "
    "without that setting with 'mahavishnu down' and 'mahavishnu up' there."
)


@contextlib.contextmanager
def working_directory(context: RunContext) -> Iterator[Path]:
    """Give the directory of this task.

    Raises:
        Refused: the directory does not exist or is outside the allowed roots; the message names them.
    """
    given = given_directory(context)
    if given is not None:
        yield checked_directory(given, roots=context.allowed_roots)
        return
    fresh = make_fresh(os.environ.get("MAHAVISHNU_LEASE", ""))
    try:
        yield fresh
    finally:
        _remove(fresh, task_id=context.task_id)


def has_own_directory(context: RunContext) -> bool:
    """Tell whether this task runs in a fresh directory, which is removed afterwards."""
    return given_directory(context) is None


def given_directory(context: RunContext) -> Path | None:
    """Return the directory a task names, else the worker's; None: it gets a fresh one.

    Raises:
        Refused: it cannot be a directory's name.
    """
    if context.spec.cwd is None or _is_of_sender(context):
        return context.default_cwd
    if "\0" in context.spec.cwd or not context.spec.cwd:
        raise Refused("cwd: holds a NUL character or is empty. Give the path of a directory.")
    given = Path(context.spec.cwd)
    if given.is_absolute():
        return given
    if context.default_cwd is None:
        raise Refused(f"cwd: {context.spec.cwd!r} is relative. Give the full path of a directory.")
    return context.default_cwd / given


def _is_of_sender(context: RunContext) -> bool:
    """Tell whether the directory is one of the machine the task was sent from, as command lines send it."""
    given = Path(str(context.spec.cwd))
    inside = any(given.is_relative_to(root) for root in context.allowed_roots)
    return bool(context.services.get(IN_PODS)) and given.is_absolute() and not inside


def checked_directory(given: Path, *, roots: tuple[Path, ...]) -> Path:
    """Return a directory without links, if it is there and a task may run in it.

    Raises:
        Refused: it does not exist, is none, or is outside the allowed roots.
    """
    try:
        real = given.resolve(strict=True)
    except (OSError, RuntimeError) as exc:
        raise Refused(f"cwd: {str(given)!r} does not exist on this machine. Name a directory that does.") from exc
    if not real.is_dir():
        raise Refused(f"cwd: {str(given)!r} is no directory. Name one.")
    if roots and not is_inside(real, roots):
        listed = ", ".join(str(root) for root in roots)
        raise Refused(
            f"cwd: {str(given)!r} is outside the allowed roots: {listed}. Choose a directory below one of them, "
            f"or {TO_ALLOW}"
        )
    return real


def is_inside(real: Path, roots: tuple[Path, ...]) -> bool:
    """Tell whether a path without links is one of the roots or below one."""
    return any(real.is_relative_to(root.resolve()) for root in roots)


def _remove(directory: Path, *, task_id: str) -> None:
    if not remove_directory(directory):
        logger.warning(
            "the directory of a task could not be removed", extra={"action": "remove_workdir", "task_id": task_id}
        )
