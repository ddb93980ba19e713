"""What one call to the store is: a script, its arguments, how its reply is read; for sync and async clients alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from importlib import resources
from typing import Any, Generic, TypeVar

from mahavishnu_pools.store import keys
from mahavishnu_pools.store.pruning import Definition, definitions, pruned, written_out

T = TypeVar("T")

#: What may be an argument of a script.
Argument = str | int | float


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One atomic step on the store. ``parse`` turns the script's reply into a value, or raises an error of ours.

    Every script may be repeated with the same arguments without a second effect, so a client may send it again when a
    reply got lost.
    """

    script: str
    arguments: tuple[Argument, ...]
    parse: Callable[[Any], T]


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script as Redis knows it."""

    text: str
    sha: str


#: Seconds that dead letters are kept when nobody says otherwise.
DEAD_LETTER_EXPIRES = 30 * 86400.0


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """What the outbox of outcomes may hold, delivered or not; the oldest go first."""

    entries: int = 100_000
    size: int = 256 * 1024 * 1024
    seconds: float = 7 * 86400.0


#: Lua files that are no scripts: what scripts use of them stands before them, in this order.
LIBRARIES = ("prelude", "needs", "contests")

#: What is in force unless somebody says otherwise.
OUTBOX = OutboxLimits()


def script(
    name: str, *, dead_letter_expires: float = DEAD_LETTER_EXPIRES, outbox: OutboxLimits | None = OUTBOX
) -> Script:
    """Return a script with what it uses of the key functions and the libraries before it.

    Dead letters it writes are kept so long (s); outcomes it writes are noted for the memory, unless ``outbox`` is None.
    """
    return _script(name, max(1, round(dead_letter_expires * 1000)), outbox)


@cache
def _script(name: str, dead_ttl: int, outbox: OutboxLimits | None) -> Script:
    body = _lua(name)
    head = f"local NS, DEAD_TTL, OUTBOX = ARGV[1], {dead_ttl}, {_limits(outbox)}\n"
    text = head + pruned(_library(), body) + body
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


@cache
def _library() -> tuple[Definition, ...]:
    return definitions(keys.lua_functions() + "".join(_lua(name) for name in LIBRARIES))


def _lua(name: str) -> str:
    text = (resources.files("mahavishnu_pools.store") / "lua" / f"{name}.lua").read_text()
    return written_out(text, "k_", keys.lua_expression)


def _limits(outbox: OutboxLimits | None) -> str:
    if outbox is None:
        return "false"
    return f"{{ entries = {outbox.entries}, size = {outbox.size}, ttl = {round(outbox.seconds * 1000)} }}"


def pairs(flat: list[str]) -> dict[str, str]:
    """Return a dict of a flat field, value, … list, as Redis gives hashes."""
    return dict(zip(flat[::2], flat[1::2], strict=True))
