"""Task type ``python``: an allowed function, called in a child process."""

from __future__ import annotations

from mahavishnu_pools.callables import allowed_by, remedy_for
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
    entry = allowed_by(payload.callable, context.python_callables)
    if entry is None:
        remedy = remedy_for(payload.callable)
        raise Refused(f"payload.callable: {payload.callable!r} is not allowed on this worker. {remedy}")
    own_only = entry != payload.callable
    return run_python(
        context, PythonCall(payload.callable, args=payload.args, kwargs=payload.kwargs, own_only=own_only)
    )
