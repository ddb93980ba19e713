"""Runs a prompt as the next turn of a session: the one its key had before, or a fresh one, and says which and why."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import JsonValue

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.task import Outcome
from mahavishnu_pools.store.agent_sessions import KnownSession, session_name
from mahavishnu_pools.worker_types import WorkerType

from .interface import RunContext
from .isolation import OF_POOL
from .workdir import has_own_directory
from .workspace import Workspace, cancelled

if TYPE_CHECKING:
    from ..sessions import Sessions

logger = logging.getLogger(__name__)

#: The service that knows sessions.
SESSIONS = "sessions"

#: What a program's own id of a session may look like; it becomes an argument of a command, so no option.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")

#: Runs the prompt, in the session of this id (None: in a fresh one).
Once = Callable[[str | None], Outcome]


def run_in_session(workspace: Workspace, once: Once, *, worker_type: WorkerType) -> Outcome:
    """Run a task that has a session; metadata ``session`` tell whether that was ``resumed`` or ``fresh``, and why."""
    context = workspace.context
    sessions: Sessions | None = context.services.get(SESSIONS)
    hindrance = _hindrance(context, worker_type)
    if sessions is None or hindrance is not None:
        return noted(once(None), context, why=hindrance or "nothing here remembers sessions")
    key = context.spec.session or ""
    name = session_name(key, worker_type=worker_type.name, directory=str(workspace.cwd))
    with sessions.turn(name, context.cancellation):
        if context.cancellation.requested:
            return cancelled()
        known, why = _known(sessions, name)
        outcome = _outcome(once, known, context, why=why, lost=worker_type.session_lost)
        return _kept(sessions, name, outcome)


def noted(outcome: Outcome, context: RunContext, *, why: str) -> Outcome:
    """Return an outcome that says why its session is a fresh one."""
    return _told(outcome, {"key": context.spec.session, "state": "fresh", "why": why})


def _hindrance(context: RunContext, worker_type: WorkerType) -> str | None:
    if not worker_type.resume:
        return f"worker type {worker_type.name!r} has no command for going on with a session"
    if (context.spec.isolation or context.services.get(OF_POOL)) == "worktree":
        return "it ran in a worktree of its own"
    if worker_type.container is not None:
        return "it ran in a container, which keeps no files"
    if has_own_directory(context):
        return "it ran in a directory of its own, which is gone; name one that stays (cwd)"
    return None


def _known(sessions: Sessions, name: str) -> tuple[KnownSession | None, str]:
    try:
        known = sessions.find(name)
    except errors.Unavailable as exc:
        return None, f"the one before could not be looked up: {exc}"
    if known is None:
        return None, "it is the first of this key, worker type and directory, or the last was over 30 days ago"
    if known.node != sessions.node:
        return None, f"the one before is on node {known.node}, and this ran on node {sessions.node}"
    return known, ""


def _outcome(once: Once, known: KnownSession | None, context: RunContext, *, why: str, lost: str) -> Outcome:
    if known is None:
        return noted(once(None), context, why=why)
    outcome = once(known.session_id)
    if _is_lost(outcome, lost):
        context.log.write("stderr", b"The session of before is not known any more: a fresh one begins.\n")
        return noted(once(None), context, why=f"the program does not know the one before any more: {outcome.error}")
    return _told(outcome, {"key": context.spec.session, "state": "resumed"})


def _is_lost(outcome: Outcome, lost: str) -> bool:
    """Tell whether the program said that it does not know the session, before it began anything."""
    began = "model" in outcome.metadata
    return bool(lost) and outcome.status == "failed" and not began and bool(re.search(lost, outcome.error or ""))


def _kept(sessions: Sessions, name: str, outcome: Outcome) -> Outcome:
    """Remember the session the program had, whatever became of this turn."""
    session_id = outcome.metadata.get("session_id")
    if not isinstance(session_id, str) or not _ID.fullmatch(session_id):
        return outcome
    try:
        sessions.keep(name, session_id)
    except errors.Unavailable as exc:
        logger.warning("A session could not be noted; the next turn may begin a fresh one: %s", exc)
    return outcome


def _told(outcome: Outcome, session: dict[str, JsonValue]) -> Outcome:
    return outcome.model_copy(update={"metadata": {**outcome.metadata, "session": session}})
