"""Keeps tasks from disturbing each other in a directory: one after the other, or each in a git worktree of its own."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from mahavishnu_pools import errors, names
from mahavishnu_pools.schemas.task import Outcome
from mahavishnu_pools.schemas.worktree import Isolation
from mahavishnu_pools.task_types import REDUCER_PREFIX
from mahavishnu_pools.worktrees.making import Tree, Wanted, make_tree
from mahavishnu_pools.worktrees.records import Place
from mahavishnu_pools.worktrees.repository import checkout_of
from mahavishnu_pools.worktrees.settling import drop, settle

from .interface import Refused, RunContext
from .processes import TASK_ID_VARIABLE, end_marked
from .workdir import checked_directory, given_directory
from .workspace import cancelled

logger = logging.getLogger(__name__)

#: The service that names where worktrees and locks are (a ``Place``).
PLACE = "worktrees"

#: The service that says how the pool's tasks are isolated.
OF_POOL = "isolation"

#: Where a result's metadata tell of the changes.
CHANGES = "worktree"

#: Task types that change nothing in their directory, so that a pool's isolation is not meant for them.
_HARMLESS = frozenset({"http", "analyze"})

#: Seconds between two looks whether the checkout is free: short at first, for tasks that take moments.
_FIRST_LOOK, _LONGEST_LOOK = 0.05, 1.0

#: Characters of a prompt that become the first line of a commit's message.
_SUBJECT = 72


def run_isolated(context: RunContext, run: Callable[[RunContext], Outcome], *, ai: bool) -> Outcome:
    """Run a task as its isolation says; ``ai``: it is a prompt for an AI program, of which one works in a checkout.

    Raises:
        Refused: its directory cannot be used.
        RepositoryRefused, GitFailed: no worktree could be made.
    """
    how = _chosen(context, ai=ai)
    if how == "worktree":
        return _in_worktree(context, run)
    if how == "lock":
        return _alone(context, run)
    return run(context)


def refuse_elsewhere(context: RunContext) -> None:
    """Refuse a worktree where tasks are handed over to something on another machine.

    Raises:
        Refused: the task asks for one.
    """
    if context.spec.isolation == "worktree":
        raise Refused("isolation: this pool runs its tasks elsewhere, where no worktree can be made. Use another pool.")


def _chosen(context: RunContext, *, ai: bool) -> Isolation:
    if context.spec.isolation is not None:
        return context.spec.isolation
    kind = context.spec.task_type
    of_pool: Isolation | None = context.services.get(OF_POOL)
    if of_pool is not None:
        return "none" if kind in _HARMLESS or kind.startswith(REDUCER_PREFIX) else of_pool
    return "lock" if ai else "none"


# ── one after the other ──


def _alone(context: RunContext, run: Callable[[RunContext], Outcome]) -> Outcome:
    """Run a task while no other one that asks for it works in the same checkout, whichever pool it is of."""
    place: Place | None = context.services.get(PLACE)
    given = given_directory(context)
    if place is None or given is None:
        return run(context)  # its directory is its own
    cwd = checked_directory(given, roots=context.allowed_roots)
    top = checkout_of(cwd)
    if top is None and context.spec.isolation is None and context.services.get(OF_POOL) is None:
        return run(context)  # nobody asked, and there is no repository
    lock = place.checkout_lock(top or cwd)
    pause, told = _FIRST_LOOK, False
    try:
        while not lock.take(context.task_id):
            if not told:
                told = True
                line = f"Waiting until {lock.said or 'another task'} has ended, which works in {top or cwd} too.\n"
                context.log.write("stderr", line.encode("utf-8", "replace"))
            if context.cancellation.wait(pause):
                return cancelled()
            pause = min(2 * pause, _LONGEST_LOOK)
        if lock.said.startswith("task_"):  # its worker was killed, and its programs may still work there
            end_marked({lock.said})
        return run(context)
    finally:
        lock.release()


# ── each in a worktree ──


def _in_worktree(context: RunContext, run: Callable[[RunContext], Outcome]) -> Outcome:
    place: Place | None = context.services.get(PLACE)
    given = given_directory(context)
    if given is None and context.spec.isolation is None:
        return run(context)  # a fresh directory is as much of its own
    if place is None or given is None:
        problem = (
            "this worker makes none" if place is None else "the task has no cwd, so nobody knows of which repository"
        )
        raise Refused(f"isolation: no worktree can be made: {problem}. Name a cwd, or use another isolation.")
    cwd = checked_directory(given, roots=context.allowed_roots)
    try:
        with _os_errors():
            tree = make_tree(place, _wanted(context, cwd))
    except errors.GitFailed:
        if context.cancellation.requested:
            return cancelled()
        raise
    try:
        outcome = _run_there(place, tree, context, run)
    finally:
        tree.lock.release()
    return outcome


def _run_there(place: Place, tree: Tree, context: RunContext, run: Callable[[RunContext], Outcome]) -> Outcome:
    roots = (*context.allowed_roots, tree.path) if context.allowed_roots else ()
    spec = context.spec.model_copy(update={"cwd": str(tree.cwd)})
    mark = _mark(context)
    try:
        outcome = run(replace(context, spec=spec, allowed_roots=roots))
    except BaseException:
        with contextlib.suppress(errors.GitFailed, OSError):  # a check finds what is left
            drop(place, tree.record, mark=mark)  # it was refused, so it has changed nothing
        raise
    if context.cancellation.leave:  # somebody else has the task by now, and begins anew
        with contextlib.suppress(errors.GitFailed, OSError):
            drop(place, tree.record, mark=mark)
        return outcome
    settled = settle(place, tree.record, status=outcome.status, mark=mark)
    metadata = {**outcome.metadata, CHANGES: settled.changes.model_dump(mode="json", exclude_none=True)}
    update: dict[str, object] = {"metadata": metadata}
    if settled.error is not None:
        logger.error("%s", settled.error, extra={"action": "settle_worktree", "task_id": context.task_id})
        failed = {"status": "failed", "error": settled.error} if outcome.status == "completed" else {}
        update |= failed
    return outcome.model_copy(update=update)


def _wanted(context: RunContext, cwd: Path) -> Wanted:
    lines = (context.spec.text or "").strip().splitlines()
    return Wanted(
        task_id=context.task_id,
        attempt=context.attempt,
        node=context.env.get("MAHAVISHNU_NODE_NAME") or names.default_node_name(),
        cwd=cwd,
        roots=context.allowed_roots,
        mark=_mark(context),
        subject=lines[0][:_SUBJECT] if lines else "",
        stopped=lambda: context.cancellation.requested,
    )


def _mark(context: RunContext) -> dict[str, str]:
    """Return the environment by which an agent finds git when its worker was killed."""
    return {TASK_ID_VARIABLE: context.task_id}


@contextlib.contextmanager
def _os_errors() -> Iterator[None]:
    """Say in a sentence that the data directory cannot be written."""
    try:
        yield
    except OSError as exc:
        raise errors.GitFailed(f"The worktree of the task cannot be made: {exc}.") from exc
