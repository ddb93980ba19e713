"""Reads what a Session-Buddy server answers: ours in fields, the other kind in sentences for people. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mahavishnu_pools.mcp_client import ToolAnswer
from mahavishnu_pools.schemas.task import Outcome

#: What the pool tools say of a pool that is not there (any more).
_POOL_GONE = re.compile(r"\bpool\b.{0,120}\bnot found\b", re.IGNORECASE | re.DOTALL)

#: How the sentence begins that tells of a failed task; a time-out is one without a reason.
_FAILED = re.compile(r"^\s*❌\s*Failed to (?:execute|route) task:?\s*", re.IGNORECASE)

_ENDS = frozenset({"completed", "failed", "timeout", "cancelled"})


def is_pool_gone(answer: ToolAnswer) -> bool:
    """Tell whether the server does not know the pool, so that it ran nothing."""
    return answer.failed and bool(_POOL_GONE.search(answer.text))


def outcome_of(answer: ToolAnswer) -> Outcome:
    """Return how a delegated prompt ended, as the answer of ``execute_on_pool`` tells it."""
    if isinstance(answer.value, Mapping) and str(answer.value.get("status")) in _ENDS:
        return _from_fields(answer.value)
    return _from_sentence(answer)


def known_pools(answer: ToolAnswer) -> frozenset[str]:
    """Return the ids of the pools that the answer of ``list_pools`` names."""
    if isinstance(answer.value, Mapping):
        listed = answer.value.get("pools")
        if isinstance(listed, list):
            return frozenset(str(one["pool_id"]) for one in listed if isinstance(one, Mapping) and "pool_id" in one)
    lines = (line.strip() for line in answer.text.splitlines())
    return frozenset(line[2:].partition(": ")[0] for line in lines if line.startswith("- "))


def trouble_of(answer: ToolAnswer) -> str | None:
    """Return what the answer of ``get_pool_status`` says is wrong with a pool, None when it runs.

    A degraded pool is no trouble: the server says so of workers that merely had nothing to do for a while.
    """
    if is_pool_gone(answer):
        return "the server does not know the pool any more"
    if isinstance(answer.value, Mapping) and "running" in answer.value:
        running = bool(answer.value["running"])
    else:
        running = not re.search(r"^\s*Running:\s*False\s*$", answer.text, re.MULTILINE)
    return None if running else "its workers on the server do not run"


def _from_fields(value: Mapping[str, Any]) -> Outcome:
    exit_code, error, metadata = value.get("exit_code"), value.get("error"), value.get("metadata")
    return Outcome(
        status=value["status"],
        output=str(value.get("output") or ""),
        error=str(error) if error else None,
        exit_code=exit_code if isinstance(exit_code, int) else None,
        retryable=value.get("retryable")
        if value.get("retryable") in ("rate_limit", "overload", "connection")
        else None,
        metadata={
            **(metadata if isinstance(metadata, dict) else {}),
            "remote_worker_id": value.get("worker_id"),
            "remote_output_available": True,
        },
    )


def _from_sentence(answer: ToolAnswer) -> Outcome:
    """The sentence is all there is: it stands for the output, which that server never returns."""
    metadata = {"remote_output_available": False}
    text = answer.text.strip()
    if not answer.failed:
        return Outcome(status="completed", output=text, metadata=metadata)
    reason = _FAILED.sub("", text).strip()
    if not reason:
        error = "The server gave no reason, as it does when a task takes longer than its timeout."
        return Outcome(status="timeout", error=error, metadata={**metadata, "remote_may_still_run": True})
    return Outcome(status="failed", error=f"Session-Buddy reports: {reason}", metadata=metadata)
