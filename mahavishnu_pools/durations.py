"""How long callers are willing to wait: seconds from zero on, or None for ever. Pure."""

from __future__ import annotations

from mahavishnu_pools import errors

#: The longest anybody may wait, in seconds: ten years. What is longer is a slip.
MOST = 3650 * 86400.0


def checked(seconds: object, *, name: str) -> float | None:
    """Return the seconds an argument of this name gives.

    Raises:
        InvalidField: it is no number, negative, or more than ten years.
    """
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= MOST:
        raise errors.InvalidField.of(
            name, f"is {seconds!r}", f"Give 0 to {MOST:.0f} seconds, or None to wait for ever."
        )
    return float(seconds)
