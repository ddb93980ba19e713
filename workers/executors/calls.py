"""Runs handlers that are Python functions of this process, in the worker's own thread."""

from __future__ import annotations

import inspect
import json
import time
import traceback
from typing import Any

from pydantic import BaseModel, JsonValue

from mahavishnu_pools.schemas.task import Outcome
from mahavishnu_pools.task_types import TaskType

from .capture import cut_text
from .coroutines import CancelledByRequest, run_coroutine
from .environment import build_environment
from .interface import Refused, RunContext
from .masking import Masker
from .workspace import cancelled, timed_out


def call_handler(context: RunContext, task_type: TaskType, *, payload: BaseModel) -> Outcome:
    """Call the handler with payload and context; its JSON value, its Outcome or its exception becomes the outcome.

    An ``async def`` handler is ended at the timeout and on cancel. A plain function cannot be: it must look at
    ``context.cancellation`` itself, and when it comes back too late the outcome is still ``timeout``.
    """
    began = time.monotonic()
    timeout = context.spec.timeout
    try:
        result = task_type.handler(payload, context)
        if inspect.iscoroutine(result):
            result = run_coroutine(result, timeout=timeout, cancellation=context.cancellation)
        if isinstance(result, Outcome):
            return result
        if time.monotonic() - began > timeout:
            return timed_out(context)
        return _outcome_of(result, context=context)
    except CancelledByRequest:
        return cancelled()
    except TimeoutError as exc:
        return timed_out(context) if time.monotonic() - began >= timeout else _failed(context, exc)
    except Refused:
        raise
    # The border to the user's code: whatever it raises is the task's failure, not the worker's.
    except Exception as exc:  # noqa: BLE001
        return _failed(context, exc)


def _outcome_of(result: Any, *, context: RunContext) -> Outcome:
    if result is None:
        return Outcome(status="completed")
    value: JsonValue = result.model_dump(mode="json") if isinstance(result, BaseModel) else result
    try:
        encoded = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as exc:
        return Outcome(status="failed", error=f"The handler's result is no JSON value: {exc}.")
    size, limit = len(encoded.encode("utf-8", "replace")), context.limits.max_value_bytes
    if size > limit:
        return Outcome(
            status="failed",
            error=f"The result takes {size} bytes as JSON, the limit is {limit}. Write it to a file instead.",
        )
    text = value if isinstance(value, str) else encoded
    masker = _masker(context)
    output = cut_text(masker.text(text), limit=context.limits.max_output_bytes)
    return Outcome(status="completed", output=output, value=masker.json(json.loads(encoded)))


def _failed(context: RunContext, exc: BaseException) -> Outcome:
    masker = _masker(context)
    context.log.write("stderr", masker.text("".join(traceback.format_exception(exc))).encode("utf-8", "replace"))
    return Outcome(status="failed", error=masker.text(f"{type(exc).__name__}: {exc}"))


def _masker(context: RunContext) -> Masker:
    """A function of this process sees the whole environment, so all of it that looks secret is masked."""
    return build_environment(context, env_pass=("*",)).masker
