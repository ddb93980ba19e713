"""What a run tells besides its outcome: tokens and cost, and that a provider wants to be left alone. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mahavishnu_pools.schemas.task import Outcome
from mahavishnu_pools.wording import whole

#: Longest time (s) that a provider's word about its limit is believed for.
_FARTHEST = 7 * 86400.0

#: Characters kept of what the provider said.
_WHY_MOST = 300

#: In an outcome's metadata it says that its program is not logged in.
LOGGED_OUT = "logged_out"

#: Tokens that were read from a cache, or written to one, were read all the same.
_INPUT = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


def told(outcome: Outcome, task_type: str, *, now: float) -> str:
    """Return what the store is to be told of a run besides its outcome, as JSON; '' when there is nothing.

    ``now`` is the time in epoch seconds.
    """
    found: dict[str, Any] = {}
    usage = usage_of(outcome.metadata)
    if usage:
        found["usage"] = usage
    worker_type = outcome.metadata.get("worker_type")
    if outcome.metadata.get(LOGGED_OUT) is True and isinstance(worker_type, str):
        # A login is its node's: others may go on.
        found["cool"] = {"worker": worker_type, "why": whole(outcome.error or "")[:_WHY_MOST], "here": True}
    elif outcome.retryable == "rate_limit" and isinstance(worker_type, str):
        found["cool"] = {"worker": worker_type, "why": whole(outcome.error or "too many requests")[:_WHY_MOST]}
        resets = outcome.metadata.get("limit_resets_at")
        if isinstance(resets, int) and 0 < resets - now <= _FARTHEST:
            found["cool"]["seconds"] = round(resets - now, 3)
    return json.dumps({"type": task_type, **found}) if found else ""


def usage_of(metadata: Mapping[str, Any]) -> dict[str, float]:
    """Return tokens (``input``, ``output``) and US dollars (``usd``) of a run; empty when its program told none.

    claude and qwen report ``usage`` and ``total_cost_usd``, codex ``usage``, gemini ``stats``. Of a run that was ended
    before, ``tokens`` are what it had used until then.
    """
    reported = metadata.get("usage") or metadata.get("stats")
    tokens = reported if isinstance(reported, dict) else {}
    counted = metadata.get("tokens")
    so_far = counted if isinstance(counted, dict) and not tokens else {}
    numbers = {
        "input": sum(_number(tokens.get(name)) for name in _INPUT) + _number(so_far.get("input")),
        "output": _number(tokens.get("output_tokens")) + _number(so_far.get("output")),
        "usd": _number(metadata.get("total_cost_usd")),
    }
    return {name: number for name, number in numbers.items() if number}


def _number(value: Any) -> float:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1e12 else 0
