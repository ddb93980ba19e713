"""Calls one Python function in a process of its own: JSON request on standard input, JSON answer on a pipe.

Run by path, not by module name, and only with the standard library: it starts fast, and packages of the user that are
called like ours are found as theirs.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import sys
import traceback
from typing import Any


def main() -> int:
    """Serve the one request; the exit code is 0 when the answer holds a result."""
    answers = int(os.environ.pop("MAHAVISHNU_RESULT_FD"))
    os.set_inheritable(answers, False)
    request = json.loads(sys.stdin.buffer.read())
    # The function finds an empty input, so that reading it ends at once instead of taking what is not its own.
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    try:
        answer = {"value": _call(request)}
        text = json.dumps(answer, allow_nan=False)
    # The border to the user's code: whatever it raises becomes the answer.
    except BaseException as exc:  # noqa: BLE001
        traceback.print_exc()
        text = json.dumps({"error": _describe(exc)})
    with os.fdopen(answers, "wb") as pipe:
        pipe.write(text.encode())
    sys.stdout.flush()
    return 0 if text.startswith('{"value"') else 1


def _call(request: dict[str, Any]) -> Any:
    target = _find(request["callable"], own_only=request["own_only"])
    if request["task_type"]:
        # An object made by the decorator task_type: payload model and handler.
        result = target.handler(target.payload.model_validate(request["kwargs"]))
    else:
        result = target(*request["args"], **_told(target, request))
    if inspect.isawaitable(result):
        result = _await(result)
    # Frozen values of pydantic are welcome as results.
    return result.model_dump(mode="json") if hasattr(result, "model_dump") else result


def _told(target: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Return the keywords of a call; a function that has a parameter ``parents`` is told how those tasks ended."""
    found: dict[str, Any] = request["kwargs"]
    if not request["parents"]:
        return found
    try:
        parameters = inspect.signature(target).parameters
        given = inspect.signature(target).bind_partial(*request["args"], **found).arguments
    except (TypeError, ValueError):  # one that does not tell its parameters, or a call that cannot be
        return found
    return {**found, "parents": request["parents"]} if "parents" in parameters and "parents" not in given else found


def _find(reference: str, *, own_only: bool) -> Any:
    module_name, _, path = reference.partition(":")
    target: Any = importlib.import_module(module_name)
    for name in path.split("."):
        target = getattr(target, name)
    if own_only and getattr(target, "__module__", None) != module_name:
        raise PermissionError(f"{reference} is only imported there; allow it by its own module or by its full name")
    if not callable(target):
        raise TypeError(f"{reference} cannot be called")
    return target


def _await(awaitable: Any) -> Any:
    import asyncio

    async def wait() -> Any:
        return await awaitable

    return asyncio.run(wait())


def _describe(exc: BaseException) -> str:
    if isinstance(exc, SystemExit):
        return f"the function ended the process with {exc.code!r}"
    return f"{type(exc).__name__}: {exc}"


if __name__ == "__main__":
    sys.exit(main())
