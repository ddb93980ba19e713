"""Messages between pools: their types, the typed value, and the dict form in which callers may give one."""

from __future__ import annotations

import difflib
import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import AwareDatetime, Field, JsonValue, ValidationError, model_validator

from mahavishnu_pools import errors
from mahavishnu_pools.refusals import invalid_field
from mahavishnu_pools.schemas.base import MappingValue
from mahavishnu_pools.schemas.task import TaskSpec

#: Bytes of JSON that a message's payload may take.
MAX_PAYLOAD_BYTES = 1024 * 1024

#: Characters of a message's JSON text at most: the payload, and what is around it.
MAX_TEXT = MAX_PAYLOAD_BYTES + 8192

#: The keys under which a dict may hold the body; only one of them at a time.
BODY_KEYS = ("payload", "task")


class MessageType(StrEnum):
    """What a message is about."""

    TASK_DELEGATE = "task_delegate"
    RESULT_SHARE = "result_share"
    STATUS_UPDATE = "status_update"
    HEARTBEAT = "heartbeat"
    POOL_CREATED = "pool_created"
    POOL_CLOSED = "pool_closed"
    TASK_COMPLETED = "task_completed"


def _new_message_id() -> str:
    return "msg_" + secrets.token_hex(8)


class Message(MappingValue):
    """One message of a pool, to another pool or (``target_pool_id=None``) to whoever listens to its type.

    The payload of ``task_delegate`` is the task: the fields of a TaskSpec; it must name its target.
    """

    type: MessageType
    source_pool_id: str = Field(min_length=1, max_length=200)
    target_pool_id: str | None = Field(default=None, min_length=1, max_length=200)
    payload: dict[str, JsonValue] = Field(default_factory=dict)
    message_id: str = Field(default_factory=_new_message_id, min_length=1, max_length=100)
    timestamp: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    schema_version: Literal[1] = 1

    @model_validator(mode="after")
    def _delegates_a_task_to_somebody(self) -> Self:
        if self.type is not MessageType.TASK_DELEGATE:
            return self
        if self.target_pool_id is None:
            raise ValueError("task_delegate needs target_pool_id, the pool that is to run the task")
        TaskSpec.model_validate(self.payload)
        return self


def parse_type(given: MessageType | str) -> MessageType:
    """Return the type of this name.

    Raises:
        UnknownChoice: there is none; the message lists those that exist.
    """
    try:
        return MessageType(given)
    except ValueError:
        raise errors.UnknownChoice.of("message type", given, [str(known) for known in MessageType]) from None


def parse_message(given: Message | Mapping[str, Any]) -> Message:
    """Return the message; a dict has the fields of ``Message``, with the body under ``payload`` or ``task``.

    Raises:
        UnknownChoice: there is no such message type.
        InvalidField: a field is missing, unknown or cannot be used, or the payload is too large.
    """
    message = given if isinstance(given, Message) else _from_mapping(given)
    size = _size(message.payload)
    if size > MAX_PAYLOAD_BYTES:
        raise errors.InvalidField.of(
            "payload", f"takes {size} bytes, the limit is {MAX_PAYLOAD_BYTES}", "Send the path of a file instead."
        )
    return message


def read_message(text: str) -> Message | None:
    """Return the message of a JSON text from the network; None when it is none, or too large."""
    if len(text) > MAX_TEXT:
        return None
    try:
        return Message.model_validate_json(text)
    except (ValidationError, UnicodeEncodeError):
        return None


def _size(payload: Mapping[str, Any]) -> int:
    """Return the bytes of JSON the payload takes."""
    try:
        return len(json.dumps(payload, ensure_ascii=False, allow_nan=False).encode())
    except (ValueError, RecursionError) as exc:
        raise errors.InvalidField.of("payload", f"is no JSON ({exc})", "Send JSON data only.") from exc


def _from_mapping(given: Mapping[str, Any]) -> Message:
    if not isinstance(given, Mapping):
        raise errors.InvalidField.of(
            "message", f"is a {type(given).__name__}", "Give a Message or a dict such as {'type': 'heartbeat', …}."
        )
    fields = dict(given)
    _check_names(fields)
    fields["type"] = parse_type(fields.get("type", ""))
    bodies = [key for key in BODY_KEYS if key in fields]
    if len(bodies) > 1:
        raise errors.InvalidField.of("task", "is given beside payload", "Put the body under one of the two.")
    for key in bodies:
        fields["payload"] = _body(key, fields.pop(key))
    try:
        return Message.model_validate(fields)
    except ValidationError as exc:
        raise invalid_field(exc, remedy="Correct the message and publish it again.") from exc


def _body(key: str, body: object) -> dict[str, Any]:
    """Return the body; a TaskSpec stands for its fields."""
    if isinstance(body, TaskSpec):
        return body.model_dump(mode="json", exclude_defaults=True)
    if not isinstance(body, Mapping):
        raise errors.InvalidField.of(key, f"is a {type(body).__name__}", "Give a dict.")
    return dict(body)


def _check_names(fields: Mapping[str, Any]) -> None:
    known = [*Message.model_fields, "task"]
    for name in fields:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"The fields are: {', '.join(known)}."
            raise errors.InvalidField.of(str(name), "is unknown", hint)
