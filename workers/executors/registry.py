"""Chooses what runs a task: the handler by its task type, the executor by the handler's mode and the worker type."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from mahavishnu_pools import errors, task_types
from mahavishnu_pools.schemas.task import Outcome
from mahavishnu_pools.task_types import Mode, TaskType

from ..task_types.registry import TaskTypeRegistry, default_registry
from .agent_session import noted
from .calls import call_handler
from .informed import with_payload, with_prompt, with_spec
from .interface import Refused, RunContext
from .isolation import refuse_elsewhere, run_isolated
from .python_call import PythonCall, run_python
from .terminal import chosen_worker_type, is_for_ai, known_worker_types, run_prompt
from .workspace import Plan, open_workspace

if TYPE_CHECKING:
    from .delegate import Delegate
    from .far_bridge import FarBridge
    from .job_bridge import JobBridge

logger = logging.getLogger(__name__)

#: The service to which a pool's prompts go that are run elsewhere.
DELEGATE = "delegate"

#: The service to which all tasks of a pool go that another instance runs.
FAR = "far"

#: The service that runs a pool's tasks as Jobs in a cluster.
JOBS = "jobs"


def execute(context: RunContext) -> Outcome:
    """Run one attempt of a task and return how it ended; what goes wrong with the task is never raised."""
    if context.cancellation.requested:
        return Outcome(status="cancelled", error="The task was cancelled before it began.")
    try:
        return _perform(context)
    except Refused as exc:
        return Outcome(status="failed", error=exc.message, retryable=exc.retryable)
    except errors.MahavishnuError as exc:
        return Outcome(status="failed", error=exc.message)
    # The border of the executors: a fault in one must end this task, not the worker.
    except Exception as exc:
        logger.exception("an executor failed", extra={"action": "execute", "task_id": context.task_id})
        return Outcome(status="failed", error=f"The worker could not run this task: {type(exc).__name__}: {exc}")


def _perform(context: RunContext) -> Outcome:
    spec = context.spec
    registry: TaskTypeRegistry = context.services.get("task_types") or default_registry()
    task_type = registry.get(spec.task_type)
    if FAR in context.services:
        return _perform_far(context, task_type)
    if DELEGATE in context.services or JOBS in context.services:
        refuse_elsewhere(context)
        outcome = (_perform_elsewhere if DELEGATE in context.services else _perform_in_cluster)(context, task_type)
        return outcome if spec.session is None else noted(outcome, context, why="this pool runs its tasks elsewhere")
    if task_type is None:
        return run_isolated(context, lambda there: _perform_unregistered(there, registry), ai=True)
    given = with_payload(context, task_type.payload, task_types.payload_of(spec))
    payload = task_types.parse_payload(task_type.payload, payload=given)
    perform = _PERFORMERS[task_type.mode]
    ai = task_type.mode == "prompt" and is_for_ai(context)
    return run_isolated(context, lambda there: perform(there, task_type, payload), ai=ai)


def _perform_elsewhere(context: RunContext, task_type: TaskType | None) -> Outcome:
    """Give the server a prompt, or what it may make a prompt of; what needs this machine it cannot do."""
    spec = context.spec
    if task_type is not None and spec.text is None:
        raise Refused(f"The pool delegates prompts; it cannot run task type {spec.task_type!r}. Use another pool.")
    payload = with_payload(context, None, spec.payload)
    prompt = prompt_for(spec.task_type, payload=payload) if spec.text is None else with_prompt(context, spec.text)
    delegate: Delegate = context.services[DELEGATE]
    return delegate.run(context, prompt)


def _perform_far(context: RunContext, task_type: TaskType | None) -> Outcome:
    bridge: FarBridge = context.services[FAR]
    # A prompt whose worker type only the other instance knows is taken for one in words.
    kind = known_worker_types(context).get(context.spec.worker_type or "")
    return bridge.run(with_spec(context, task_type.payload if task_type else None, ai=kind is None or kind.ai))


def _perform_in_cluster(context: RunContext, task_type: TaskType | None) -> Outcome:
    # Late, because it brings the client of Kubernetes, which only bridges need.
    from .in_cluster import run_in_cluster

    bridge: JobBridge = context.services[JOBS]
    return run_in_cluster(context, task_type, bridge)


def _perform_unregistered(context: RunContext, registry: TaskTypeRegistry) -> Outcome:
    """An AI program gets the type and payload as they are; anything else cannot know what they mean."""
    worker_type = chosen_worker_type(context)
    if worker_type is None or not worker_type.ai:
        raise errors.UnknownChoice.of("task type", context.spec.task_type, registry.names())
    payload = with_payload(context, None, context.spec.payload)
    return run_prompt(context, prompt_for(context.spec.task_type, payload=payload))


def prompt_for(task_type: str, *, payload: Mapping[str, Any]) -> str:
    """Return the prompt that carries a task type nobody registered, with its payload as JSON."""
    return json.dumps({"task_type": task_type, "payload": payload}, ensure_ascii=False, indent=2)


def _perform_prompt(context: RunContext, task_type: TaskType, payload: BaseModel) -> Outcome:
    prompt = str(task_type.handler(payload))
    # A shell would run what others put out.
    return run_prompt(context, with_prompt(context, prompt) if is_for_ai(context) else prompt)


def _perform_command(context: RunContext, task_type: TaskType, payload: BaseModel) -> Outcome:
    argv = task_type.handler(payload)
    if not argv or not all(isinstance(part, str) for part in argv):
        raise Refused(f"The handler of task type {task_type.name!r} returned no argv: a list of texts is needed.")
    with open_workspace(context) as workspace:
        return workspace.outcome(workspace.run(Plan(tuple(argv))))


def _perform_call(context: RunContext, task_type: TaskType, payload: BaseModel) -> Outcome:
    return call_handler(context, task_type, payload=payload)


def _perform_process(context: RunContext, task_type: TaskType, payload: BaseModel) -> Outcome:
    reference = f"{task_type.handler.__module__}:{task_type.handler.__qualname__}"
    return run_python(context, PythonCall(reference, kwargs=payload.model_dump(mode="json"), task_type=True))


_PERFORMERS: Mapping[Mode, Callable[[RunContext, TaskType, BaseModel], Outcome]] = MappingProxyType(
    {"prompt": _perform_prompt, "command": _perform_command, "call": _perform_call, "process": _perform_process}
)
