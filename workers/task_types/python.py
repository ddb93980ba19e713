"""Task type ``python``: an allowed function, called in a child process."""

from __future__ import annotations

from mahavishnu_pools.schemas.task import Outcome
from mahavishnu_pools.task_types import PythonPayload, task_type

from ..executors.interface import Refused, RunContext
from ..executors.python_call import PythonCall, run_python


@task_type("python", payload=PythonPayload, mode="call")
def python(payload: PythonPayload, context: RunContext) -> Outcome:
    """Call the function when this worker allows it.

    Raises:
        Refused: it is not on the list.
    """
    module, _, path = payload.callable.partition(":")
    if payload.callable in context.python_callables:
        own_only = False
    elif f"{module}:*" in context.python_callables and "." not in path and not path.startswith("_"):
        own_only = True
    else:
        raise Refused(
            f"payload.callable: {payload.callable!r} is not allowed on this worker. Add it, or '{module}:*', "
            "to the setting python_callables (MAHAVISHNU_PYTHON_CALLABLES)."
        )
    return run_python(
        context, PythonCall(payload.callable, args=payload.args, kwargs=payload.kwargs, own_only=own_only)
    )
