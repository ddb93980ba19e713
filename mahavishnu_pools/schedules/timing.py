"""When schedules are due: their planned times, and what becomes of those that were missed. Pure."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol
from zoneinfo import ZoneInfo, available_timezones

from mahavishnu_pools import errors
from mahavishnu_pools.schedules import cron
from mahavishnu_pools.schemas.schedule import Schedule
from mahavishnu_pools.wording import short

#: A run that begins so many seconds late is in time; beat looks every few seconds.
GRACE = 60.0

#: Missed times that are counted.
COUNTED = 1000

#: Seconds between two runs: the least, and the most (a year).
EVERY_LEAST, EVERY_MOST = 10.0, 366 * 86400.0

_SPAN = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*([smhd]?)")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


class Timing(Protocol):
    """The planned times of a schedule, in epoch seconds."""

    def upcoming(self, after: float) -> Iterator[float]:
        """Yield those after a time, in order."""
        ...

    def last_until(self, now: float, *, since: float) -> float:
        """Return the last one up to ``now``; ``since`` when there is none after that."""
        ...


@dataclass(frozen=True, slots=True)
class Every:
    """A planned time every so many seconds from the anchor on."""

    seconds: float
    anchor: float

    def upcoming(self, after: float) -> Iterator[float]:
        """Yield the planned times after a time, in order."""
        first = max(1, int((after - self.anchor) / self.seconds) + 1)
        times = (self.anchor + n * self.seconds for n in itertools.count(first))
        return itertools.dropwhile(lambda moment: moment <= after, times)

    def last_until(self, now: float, *, since: float) -> float:
        """Return the last planned time up to ``now``; ``since`` when there is none after that."""
        return max(since, self.anchor + int((now - self.anchor) / self.seconds) * self.seconds)


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done now.

    ``run`` is the planned time to run (None: none), ``planned`` the one that is noted, ``missed`` counts those that
    were missed, ``next`` is the next one (None: there is none).
    """

    run: float | None
    planned: float
    missed: int
    next: float | None


def timing_of(schedule: Schedule) -> Timing:
    """Return a schedule's planned times.

    Raises:
        InvalidField: its expression, time zone or span cannot be used.
    """
    if schedule.cron is not None:
        return cron.parse(schedule.cron, zone=zone_of(schedule.timezone))
    if schedule.every is None:
        raise errors.InvalidField.of("cron", "is missing, as is every", "Give one of the two.")
    return Every(schedule.every, schedule.created_at.timestamp())


def due(schedule: Schedule, planned: float, now: float) -> Due:
    """Return what becomes of a schedule whose next planned time has come."""
    timing = timing_of(schedule)
    last = timing.last_until(now, since=planned)
    older = itertools.takewhile(lambda moment: moment < last, timing.upcoming(planned - 0.001))
    missed = sum(1 for _ in itertools.islice(older, COUNTED))
    run = last if now - last <= GRACE or schedule.missed == "run" else None
    return Due(run, last, missed + (run is None), next(timing.upcoming(max(now, last)), None))


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone by its name, such as ``Europe/Vienna``.

    Raises:
        InvalidField: there is none.
    """
    if name not in available_timezones():
        near = difflib.get_close_matches(name[:80], available_timezones(), n=2)
        hint = f"Did you mean {' or '.join(near)}?" if near else "Give a name such as UTC or Europe/Vienna."
        raise errors.InvalidField.of("timezone", f"{short(name)} is unknown", hint)
    return ZoneInfo(name)


def seconds_of(text: str) -> float:
    """Return the seconds of a span such as ``90s``, ``15m``, ``2h`` or ``1d``.

    Raises:
        InvalidField: it cannot be read, or is too short or too long.
    """
    match = _SPAN.fullmatch(text.strip().lower())
    if match is None:
        raise errors.InvalidField.of("every", f"{short(text)} is no span of time", "Write 90s, 15m, 2h or 1d.")
    return checked_every(float(match[1]) * _UNITS[match[2]])


def checked_every(seconds: float) -> float:
    """Return the seconds between two runs.

    Raises:
        InvalidField: there are too few or too many.
    """
    if not EVERY_LEAST <= seconds <= EVERY_MOST:
        raise errors.InvalidField.of(
            "every", f"{seconds:g} s is too {'short' if seconds < EVERY_LEAST else 'long'}", "Give 10s to 366d."
        )
    return seconds
