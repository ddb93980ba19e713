"""What a check finds, and how it is mended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from mahavishnu_pools.schemas.base import Value
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store.client import AsyncStore


class Level(StrEnum):
    """How bad it is: a fault makes the whole degraded, a note does not."""

    FAULT = "fault"
    NOTE = "note"


class Finding(Value):
    """One thing that is not as it should be. ``repaired`` is None when nobody tried to, or nothing can be done."""

    kind: str
    level: Level
    subject: str
    message: str
    repaired: bool | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """Where a check looks: the store, and the settings it holds them against."""

    store: AsyncStore
    settings: Settings


#: Mends one finding; returns whether it did.
Mend = Callable[[Site], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Found:
    """A finding and what mends it; None: nothing can be done from here."""

    finding: Finding
    mend: Mend | None = None


def fault(kind: str, subject: str, message: str, *, mend: Mend | None = None) -> Found:
    """Make a fault."""
    return Found(Finding(kind=kind, level=Level.FAULT, subject=subject, message=message), mend)


def note(kind: str, subject: str, message: str, *, mend: Mend | None = None) -> Found:
    """Make a note."""
    return Found(Finding(kind=kind, level=Level.NOTE, subject=subject, message=message), mend)
