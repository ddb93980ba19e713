"""Calls Python functions in child processes, so that they can use the CPU and be ended."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from mahavishnu_pools.schemas.task import Outcome

from .capture import cut_text
from .informed import as_data
from .interface import RunContext
from .workspace import Finished, Plan, Workspace, open_workspace

_CHILD = Path(__file__).with_name("python_child.py")


@dataclass(frozen=True, slots=True)
class PythonCall:
    """What to call: ``module:function`` and its JSON arguments.

    ``own_only`` refuses a function the module has only imported. ``task_type`` says that the name stands for a
    TaskType whose payload is ``kwargs``.
    """

    reference: str
    args: Sequence[JsonValue] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    own_only: bool = False
    task_type: bool = False


def run_python(context: RunContext, call: PythonCall) -> Outcome:
    """Call the function in a child process; what it prints is the output, what it returns the value.

    Raises:
        Refused: directory or secrets cannot be used, or no process can be started.
    """
    request = {
        "callable": call.reference,
        "args": list(call.args),
        "kwargs": dict(call.kwargs),
        "own_only": call.own_only,
        "task_type": call.task_type,
        "parents": as_data(context.parents),
    }
    # -P keeps the current directory, which belongs to the task, from shadowing installed packages.
    argv = (sys.executable, "-P", str(_CHILD))
    with open_workspace(context) as workspace:
        plan = Plan(argv, stdin=json.dumps(request).encode(), env={"PYTHONUNBUFFERED": "1"}, result_pipe=True)
        return _outcome(workspace, workspace.run(plan))


def _outcome(workspace: Workspace, finished: Finished) -> Outcome:
    outcome = workspace.outcome(finished)
    if outcome.status in {"timeout", "cancelled"}:
        return outcome
    answer = _answer(finished)
    if answer is None:
        limit = workspace.context.limits.max_value_bytes
        too_large = f"The result is larger than {limit} bytes as JSON. Write it to a file and return its path."
        error = outcome.error or "The function ended its process without a result."
        return outcome.model_copy(
            update={"status": "failed", "error": error if finished.result.complete else too_large}
        )
    if "error" in answer:
        return outcome.model_copy(update={"status": "failed", "error": str(answer["error"])})
    value: JsonValue = answer["value"]
    update: dict[str, Any] = {"status": "completed", "error": None, "exit_code": 0, "value": value}
    if not finished.stdout.written and value is not None:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        update["output"] = cut_text(text, limit=workspace.context.limits.max_output_bytes)
    return outcome.model_copy(update=update)


def _answer(finished: Finished) -> dict[str, Any] | None:
    if not finished.result.complete or not finished.result.written:
        return None
    try:
        answer = json.loads(finished.result.content())
    except ValueError:
        return None
    return answer if isinstance(answer, dict) and ("value" in answer or "error" in answer) else None
