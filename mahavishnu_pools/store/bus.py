"""Calls about messages between pools: sending them, and what waits in a pool's mailbox."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from mahavishnu_pools.store.calls import Argument, Call


@dataclass(frozen=True, slots=True)
class Letter:
    """A message ready to be sent: its type, its target, the pool that is closed with it, and its JSON text.

    The text is one line.
    """

    kind: str
    target: str | None
    closed: str | None
    text: str


def _in_common(letter: Letter) -> tuple[str, str, str]:
    return (letter.kind, letter.target or "", letter.closed or "")


@dataclass(frozen=True, slots=True)
class Request:
    """Who asks, and the number of what it asks, which rises with every request; one number is carried out once."""

    by: str
    number: int


def publish(letters: Sequence[Letter], request: Request, *, mailbox: int) -> Call[int]:
    """Send messages in their order, and return how many left a mailbox unread; one holds at most ``mailbox``."""
    flat: list[Argument] = []
    for common, some in groupby(letters, _in_common):
        texts = [letter.text for letter in some]
        flat.extend((*common, len(texts), "\n".join(texts)))
    return Call("bus_publish", (request.by, request.number, mailbox, *flat), int)


def take_mail(pool_id: str, request: Request, *, most: int) -> Call[list[str]]:
    """Take the oldest messages, as JSON texts, out of a pool's mailbox."""
    return Call("mailbox_take", (pool_id, request.by, request.number, most), list)


def return_mail(pool_id: str, texts: Sequence[str]) -> Call[int]:
    """Put messages back to the front of a pool's mailbox, the oldest first."""
    return Call("mailbox_return", (pool_id, *texts), int)
