"""Delegating a task by message: what is noted with the task, and the answer when the task has ended before."""

from __future__ import annotations

import json
from hashlib import sha1
from typing import Any

from mahavishnu_pools.schemas.message import Message, MessageType
from mahavishnu_pools.schemas.task import TaskResult

#: Characters of output and error in an answer that is not sent whole, and the most that is sent whole. The scripts,
#: which answer as soon as there is an outcome, cut at the same sizes.
OUTPUT_MOST, ERROR_MOST, WHOLE_MOST = 24 * 1024, 4096, 64 * 1024

_FIELDS = ("status", "output", "value", "error", "exit_code", "metadata", "worker_id")


def asked_by(message: Message) -> str:
    """Return who is to be answered, as a task's record has it: one line of JSON."""
    return json.dumps({"message_id": message.message_id, "source": message.source_pool_id})


def idempotency_key(message: Message) -> str:
    """Return the key under which a message's task is submitted when the task has none of its own."""
    return f"message:{message.message_id}"


def answer(message: Message, outcome: TaskResult) -> Message:
    """Return the answer to a ``task_delegate`` message, as the scripts write it."""
    result = outcome.model_dump(mode="json", include=set(_FIELDS), exclude_none=True)
    truncated = len(json.dumps(result)) > WHOLE_MOST
    return Message(
        type=MessageType.RESULT_SHARE,
        source_pool_id=outcome.pool_id or message.target_pool_id or "",
        target_pool_id=message.source_pool_id,
        message_id="msg_" + sha1(f"result_share{message.message_id}".encode(), usedforsecurity=False).hexdigest()[:16],
        payload={
            "in_reply_to": message.message_id,
            "task_id": outcome.task_id,
            "task_type": outcome.task_type,
            "status": outcome.status.value,
            "duration": outcome.duration,
            "truncated": truncated,
            "result": _cut(result) if truncated else result,
        },
    )


def _cut(result: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {name: result[name] for name in ("status", "exit_code", "worker_id") if name in result}
    for name, most in (("output", OUTPUT_MOST), ("error", ERROR_MOST)):
        if name in result:
            kept[name] = result[name][:most]
    return kept
