"""Where a Celery task's message is acknowledged: at its claim, not at a kombu channel.

A message handed to Celery's consumer carries this object as its channel. A lost broker connection cannot close it, and
an acknowledgement after a reconnect still finds its claim.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kombu.transport.virtual.base import Base64, Message

from mahavishnu_pools import names

_BASE64 = Base64()


class ClaimChannel:
    """The part of a kombu channel that messages use.

    ``basic_ack`` does nothing: a claim ends when the outcome is written (result backend) or the job is through
    (concurrency pool), so an early acknowledgement cannot lose a task.
    """

    #: kombu asks for it when it decodes a message.
    no_ack_consumers: frozenset[str] = frozenset()

    def __init__(self, pool_id: str, *, on_reject: Callable[[str, bool], None]) -> None:
        self._pool_id = pool_id
        self._on_reject = on_reject

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        """Take note of an acknowledgement; the claim ends elsewhere."""

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Hand the message back (requeue) or give it up as a dead letter."""
        self._on_reject(delivery_tag, requeue)

    def decode_body(self, body: Any, encoding: str | None = None) -> Any:
        """Decode a body as kombu's virtual channels do."""
        return _BASE64.decode(body) if encoding == "base64" else body

    def message(self, raw: dict[str, Any], *, task_id: str) -> Message:
        """Build the kombu message of a claim. Its time to run has come, so Celery must not wait for ``eta`` again."""
        headers = {**raw["headers"], "eta": None}
        place = {"exchange": "", "routing_key": names.queue_of(self._pool_id)}
        info = {**(raw["properties"].get("delivery_info") or {}), **place}
        properties = {**raw["properties"], "delivery_tag": task_id, "delivery_info": info}
        return Message({**raw, "headers": headers, "properties": properties}, channel=self)
