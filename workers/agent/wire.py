"""What zygote and controller say to each other: JSON objects with their length before them, over a socket pair."""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from functools import cache

from pydantic import TypeAdapter, ValidationError

#: The largest message, in bytes: orders hold a pool's configuration.
LONGEST = 64 * 1024 * 1024

_HEADER = struct.Struct("!I")


@dataclass(frozen=True, slots=True)
class StartGroup:
    """Controller: start a group. ``slot`` is its place in the shared memory, ``start`` a GroupStart as JSON."""

    request: int
    slot: int
    start: str


@dataclass(frozen=True, slots=True)
class ListGroups:
    """Controller: which groups live?"""

    request: int


@dataclass(frozen=True, slots=True)
class Started:
    """Zygote: the group has this pid; ``error`` says why it could not be started (then pid is 0)."""

    request: int
    pid: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """Zygote: the living groups as [pid, slot, GroupStart as JSON]."""

    request: int
    groups: list[tuple[int, int, str]]


@dataclass(frozen=True, slots=True)
class Exited:
    """Zygote: a group is gone and was waited for. ``signal`` is 0 when it ended by itself, with ``code``."""

    pid: int
    code: int
    signal: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Zygote: the agent is to end; ``hurry`` when it was asked twice."""

    hurry: bool


class Garbled(Exception):
    """What came over the socket is no message; nothing that follows can be understood. Never seen by users."""


Message = StartGroup | ListGroups | Started | Listing | Exited | Stop

_KINDS: dict[str, type[Message]] = {
    kind.__name__: kind for kind in (StartGroup, ListGroups, Started, Listing, Exited, Stop)
}


def encode(message: Message) -> bytes:
    """Return a message as it goes over the socket."""
    body = json.dumps({"kind": type(message).__name__, **asdict(message)}).encode()
    return _HEADER.pack(len(body)) + body


class Decoder:
    """Makes messages of received pieces."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """Take the next piece and return the messages that are complete now.

        Raises:
            Garbled: it is none.
        """
        self._rest += data
        found: list[Message] = []
        while len(self._rest) >= _HEADER.size:
            (size,) = _HEADER.unpack_from(self._rest)
            if size > LONGEST:
                raise Garbled(f"a message of {size} bytes")
            end = _HEADER.size + size
            if len(self._rest) < end:
                break
            found.append(_decode(bytes(self._rest[_HEADER.size : end])))
            del self._rest[:end]
        return found


@cache
def _adapter(kind: str) -> TypeAdapter[Message]:
    return TypeAdapter(_KINDS[kind])


def _decode(body: bytes) -> Message:
    try:
        raw = json.loads(body)
        found = _adapter(raw.pop("kind")).validate_python(raw)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, ValidationError) as exc:
        raise Garbled(f"{type(exc).__name__}: {exc}") from exc
    return found
