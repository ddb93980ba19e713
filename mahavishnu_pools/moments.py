"""Moments as people name them: so long ago, or a time. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from mahavishnu_pools import errors
from mahavishnu_pools.wording import short

_AGO = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def moment(text: str, *, name: str) -> datetime:
    """Return the moment so long ago (``90s``, ``15m``, ``2h``, ``1d``), or that of an ISO time; without a zone: local.

    Raises:
        InvalidField: it is none; ``name`` is the field.
    """
    found = _AGO.fullmatch(text.strip())
    try:
        if found is not None:
            return datetime.now(UTC) - timedelta(**{_UNITS[found[2]]: float(found[1])})
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError, OSError) as exc:
        remedy = "Write 15m, 2h, 1d, 2030-01-31 or 2030-01-31T15:00:00."
        raise errors.InvalidField.of(name, f"{short(text)} is no time", remedy) from exc
