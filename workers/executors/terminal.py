"""Runs a prompt with a worker type: an AI program in the terminal, or the shell."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from functools import partial

from pydantic import JsonValue

from mahavishnu_pools import worker_types
from mahavishnu_pools.schemas.task import Outcome
from mahavishnu_pools.worker_types import WorkerType

from .agent_log import AgentLog
from .agent_record import UNDERSTOOD
from .agent_session import run_in_session
from .capture import cut_text
from .cli_output import Answer, AnswerReader, cause_of
from .container import boxed
from .interface import RunContext
from .supervisor import describe_exit
from .usage import LOGGED_OUT
from .workspace import Finished, Plan, Workspace, open_workspace

#: Error sentences longer than this are shortened (characters).
_MAX_ERROR = 2000


def chosen_worker_type(context: RunContext) -> WorkerType | None:
    """Return the worker type of this task: its own, the pool's, else None.

    Raises:
        UnknownChoice: there is none of that name.
    """
    name = context.spec.worker_type or context.worker_type
    return worker_types.get_worker_type(name, known=known_worker_types(context)) if name else None


def is_for_ai(context: RunContext) -> bool:
    """Tell whether a prompt goes to an AI program; without a worker type the first one that is installed takes it."""
    worker_type = chosen_worker_type(context)
    return worker_type is None or worker_type.ai


def known_worker_types(context: RunContext) -> Mapping[str, WorkerType]:
    """Return the worker types this worker knows."""
    known: Mapping[str, WorkerType] = context.services.get("worker_types", worker_types.BUILT_IN)
    return known


def run_prompt(context: RunContext, prompt: str) -> Outcome:
    """Run a prompt; without a worker type the first AI program that is installed takes it.

    Raises:
        Refused: directory, secrets or program cannot be used.
        MissingProgram: the program is not installed on this worker.
    """
    known = known_worker_types(context)
    worker_type = chosen_worker_type(context)
    path = context.spec.env.get("PATH") or context.env.get("PATH") or os.defpath
    if worker_type is None:
        name = worker_types.default_worker_type(path, known=known)
        if name is None:
            raise worker_types.no_ai_program(known=known)
        worker_type = known[name]
    if worker_type.container is None:
        worker_types.require_program(worker_type, path=path)
    with open_workspace(context, env_pass=worker_type.env_pass) as workspace:
        run = workspace.run if worker_type.container is None else boxed(workspace, worker_type)
        once = partial(prompt_outcome, workspace, run, prompt, worker_type=worker_type)
        return once() if context.spec.session is None else run_in_session(workspace, once, worker_type=worker_type)


def prompt_outcome(
    workspace: Workspace,
    run: Callable[[Plan], Finished],
    prompt: str,
    session: str | None = None,
    *,
    worker_type: WorkerType,
) -> Outcome:
    """Run a prompt's plan with ``run`` and return the outcome, as the worker type's output is read.

    ``session`` is the program's id of the one it goes on with (None: a fresh one).

    Raises:
        Refused: it could not be run.
    """
    argv, stdin = worker_type.command(prompt, session=session)
    if worker_type.output == "text":
        return _text_outcome(workspace, run(Plan(argv, stdin=stdin)), worker_type=worker_type)
    reader = AnswerReader(worker_type.output)
    if worker_type.output not in UNDERSTOOD:
        finished = run(Plan(argv, stdin=stdin, on_line=reader.feed))
        return _answer_outcome(workspace, finished, answer=reader.answer, worker_type=worker_type)
    log = AgentLog(reader, log=workspace.context.log, cwd=str(workspace.cwd))
    finished = run(Plan(argv, stdin=stdin, on_line=log.feed, log_stdout=False))
    outcome = _answer_outcome(workspace, finished, answer=reader.answer, worker_type=worker_type)
    return outcome.model_copy(update={"metadata": {**outcome.metadata, **log.summary()}})


def _text_outcome(workspace: Workspace, finished: Finished, *, worker_type: WorkerType) -> Outcome:
    outcome = workspace.outcome(finished)
    if outcome.status != "failed" or not worker_type.ai:
        return outcome
    metadata = {**outcome.metadata, "worker_type": worker_type.name}
    error = outcome.error or ""
    if is_logged_out(finished.last_error_line, worker_type):
        error, metadata = _with_remedy(error, metadata, worker_type)
    return outcome.model_copy(update={"error": error, "retryable": cause_of(error), "metadata": metadata})


def _answer_outcome(workspace: Workspace, finished: Finished, *, answer: Answer, worker_type: WorkerType) -> Outcome:
    """Make the outcome of an event stream; the final answer alone is the output."""
    limit = workspace.context.limits.max_output_bytes
    output = cut_text(answer.text, limit=limit) if answer.recognised else finished.stdout.text()
    outcome = workspace.outcome(finished, output=output)
    metadata = {**outcome.metadata, **answer.metadata, "worker_type": worker_type.name}
    if outcome.status in {"timeout", "cancelled"}:
        return outcome.model_copy(update={"metadata": metadata})
    program = worker_type.needs if worker_type.container is None else worker_type.argv[0]
    error = _error(finished, answer=answer, program=program)
    if error is None:
        return outcome.model_copy(update={"status": "completed", "error": None, "metadata": metadata})
    if is_logged_out(answer.error, worker_type):
        error, metadata = _with_remedy(error, metadata, worker_type)
    return outcome.model_copy(
        update={"status": "failed", "error": error[:_MAX_ERROR], "retryable": cause_of(error), "metadata": metadata}
    )


def is_logged_out(error: str | None, worker_type: WorkerType) -> bool:
    """Tell whether a program's own words about its failure say that nobody has logged in."""
    return bool(error and worker_type.logged_out and re.search(worker_type.logged_out, error))


def _with_remedy(
    error: str, metadata: Mapping[str, JsonValue], worker_type: WorkerType
) -> tuple[str, dict[str, JsonValue]]:
    sentence = error if error.endswith((".", "]")) else f"{error}."
    remedy = f" To log in: {worker_type.log_in}." if worker_type.log_in else ""
    return sentence + remedy, {**metadata, LOGGED_OUT: True}


def _error(finished: Finished, *, answer: Answer, program: str) -> str | None:
    if answer.error is not None:
        return f"{program} reports: {answer.error}"
    if not finished.succeeded:
        last = finished.last_error_line
        how = "was ended by" if finished.ended.returncode < 0 else "ended with"
        return f"{program} {how} {describe_exit(finished.ended.returncode)}{': ' + last if last else '.'}"
    if answer.recognised and not answer.finished:
        return f"{program} broke off before its final answer."
    text = finished.stdout.text().strip()
    if not answer.recognised and (not text or text.startswith("[API Error:")):
        return (
            f"{program} reports: {text}" if text else f"{program} ended without an answer: {finished.last_error_line}"
        )
    return None
