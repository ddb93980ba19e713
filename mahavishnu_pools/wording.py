"""How messages show what the caller named: long texts cut, near names offered. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

#: Characters of something the caller named that a message repeats.
SHOWN = 80


def short(given: object) -> str:
    """Return something the caller named as a message shows it: quoted, and cut when it is long."""
    text = given if isinstance(given, str) else str(given)
    return repr(text) if len(text) <= SHOWN else f"{text[:SHOWN]!r}… ({len(text)} characters)"


def did_you_mean(given: object, known: Iterable[str]) -> str:
    """Return the question for the nearest of the known names, with a space after it; empty when none is near."""
    near = difflib.get_close_matches(str(given)[:SHOWN], list(known), n=2)
    return f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
