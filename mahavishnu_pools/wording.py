"""How messages show what the caller named: long texts cut, near names offered, half characters made whole. Pure."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import JsonValue

#: Characters of something the caller named that a message repeats.
SHOWN = 80


def short(given: object) -> str:
    """Return something the caller named as a message shows it: quoted, and cut when it is long."""
    text = given if isinstance(given, str) else str(given)
    return repr(text) if len(text) <= SHOWN else f"{text[:SHOWN]!r}… ({len(text)} characters)"


def did_you_mean(given: object, known: Iterable[str], *, nearness: float = 0.6) -> str:
    """Return the question for the nearest of the known names, with a space after it; empty when none is near."""
    near = difflib.get_close_matches(str(given)[:SHOWN], list(known), n=2, cutoff=nearness)
    return f"Did you mean {' or '.join(map(repr, near))}? " if near else ""


def whole(text: str) -> str:
    """Return a text that can be written: a half character (a lone surrogate), which JSON text can hold, is U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def whole_value(value: JsonValue) -> JsonValue:
    """Return a JSON value whose texts can be written, as ``whole`` does."""
    written = json.dumps(value, ensure_ascii=False)
    mended = whole(written)
    if mended is written:
        return value
    found: JsonValue = json.loads(mended)
    return found
