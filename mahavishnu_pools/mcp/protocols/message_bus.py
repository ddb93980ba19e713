"""The message bus at the import path of the former layout."""

from __future__ import annotations

from mahavishnu_pools.bus.local import MessageBus
from mahavishnu_pools.schemas.message import Message, MessageType

__all__ = ["Message", "MessageBus", "MessageType"]
