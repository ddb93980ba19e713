"""How one value is written, and how wide it is on a terminal."""

from __future__ import annotations

import unicodedata

from mahavishnu_pools.cli.formats.interface import Cell, State

#: Stands for a value that is not known.
UNKNOWN = "–"

#: The sign before a status word.
SIGNS = {
    "pending": "○",
    "initializing": "◐",
    "running": "●",
    "degraded": "⚠",
    "paused": "◌",
    "draining": "◑",
    "stopped": "■",
    "failed": "✗",
    "healthy": "●",
    "unhealthy": "✗",
    "found": "○",
    "known": "●",
    "registered": "✓",
    "unreachable": "⚠",
    "refused": "✗",
    "queued": "○",
    "retrying": "◐",
    "completed": "✓",
    "timeout": "✗",
    "cancelled": "■",
    "awaiting_approval": "?",
    "waiting": "…",
    "dead": "✗",
}

#: The colour of a sign (an SGR number), for those that have one.
COLOURS = {"●": 32, "✓": 32, "◐": 36, "◑": 36, "⚠": 33, "✗": 31}


def sign_of(word: str) -> str:
    """Return the sign of a status word; a word nobody knows gets a dot."""
    return SIGNS.get(word, "·")


def written(cell: Cell) -> str:
    """Return the text of a cell without its sign."""
    if cell is None:
        return UNKNOWN
    if isinstance(cell, State):
        return cell.word
    if isinstance(cell, float):
        return f"{cell:.2f}"
    return harmless(str(cell))


def harmless(text: str) -> str:
    """Return a text that cannot steer a terminal: control characters but line end and tab are shown by their number."""
    return "".join(
        f"\\x{ord(char):02x}" if unicodedata.category(char) == "Cc" and char not in "\n\t" else char for char in text
    )


def one_line(text: str) -> str:
    """Return a text with its line ends and tabs as single spaces."""
    return " ".join(text.split())


def width_of(text: str) -> int:
    """Return how many columns a text takes on a terminal."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def shortened(text: str, width: int) -> str:
    """Return at most ``width`` columns of a text, with an ellipsis where it was cut."""
    if width_of(text) <= width:
        return text
    kept = ""
    for char in text:
        if width_of(kept + char) > width - 1:
            break
        kept += char
    return kept + "…"
