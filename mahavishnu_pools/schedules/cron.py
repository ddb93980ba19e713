"""Cron expressions: five fields, as cron(8) reads them, in a time zone. Pure.

Where the clock is put forward, a time that does not exist comes as much later; where it is put back, a time that exists
twice comes once, unless every hour is wanted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from mahavishnu_pools import errors
from mahavishnu_pools.wording import short

#: What may stand in place of five fields.
NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

#: Days that are looked through for the next time: leap days are up to eight years apart.
DAYS_MOST = 9 * 366

_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec"
_WEEKDAYS = "sun mon tue wed thu fri sat"

_PART = re.compile(r"(\*|\w+)(?:-(\w+))?(?:/(\d+))?")


@dataclass(frozen=True, slots=True)
class _Field:
    """A field's name, its least and greatest number, and the words that stand for the numbers from the least on."""

    name: str
    least: int
    most: int
    words: str = ""


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 7, _WEEKDAYS),
)


@dataclass(frozen=True, slots=True)
class Cron:
    """When something is due. ``either_day``: both kinds of days are limited, and one that fits is enough."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool
    zone: ZoneInfo

    def upcoming(self, after: float) -> Iterator[float]:
        """Yield the times (epoch seconds) after one, in order, as far as nine years without any."""
        day = datetime.fromtimestamp(after, self.zone).date() - timedelta(days=1)
        last, empty = after, 0
        while empty < DAYS_MOST and day < date.max - timedelta(days=2):
            found = [moment for moment in self._moments(day) if moment > last] if self._on(day) else []
            yield from found
            last, empty = (found[-1], 0) if found else (last, empty + 1)
            day += timedelta(days=1)

    def last_until(self, now: float, *, since: float) -> float:
        """Return the last time up to ``now``; ``since`` when there is none after that."""
        day = datetime.fromtimestamp(now, self.zone).date() + timedelta(days=1)
        first = datetime.fromtimestamp(since, self.zone).date() - timedelta(days=1)
        while day >= first:
            found = [moment for moment in self._moments(day) if moment <= now] if self._on(day) else []
            if found:
                return max(since, found[-1])
            day -= timedelta(days=1)
        return since

    def _on(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return of_month or of_week if self.either_day else of_month and of_week

    def _moments(self, day: date) -> list[float]:
        walls = [
            datetime(day.year, day.month, day.day, hour, minute, tzinfo=self.zone)
            for hour in self.hours
            for minute in self.minutes
        ]
        if len(self.hours) == 24:
            walls += [again for wall in walls if _comes_twice(again := wall.replace(fold=1))]
        return sorted({wall.astimezone(UTC).timestamp() for wall in walls})


def _comes_twice(again: datetime) -> bool:
    """Tell whether a time (the second one of its name) exists twice, because the clock is put back there."""
    first, second = again.replace(fold=0).utcoffset(), again.utcoffset()
    return first is not None and second is not None and second < first


def parse(text: str, *, zone: ZoneInfo) -> Cron:
    """Return what an expression says.

    Raises:
        InvalidField: it cannot be read, or never is due; the message says which part is wrong.
    """
    words = NICKNAMES.get(text.strip().lower(), text).split()
    if len(words) != len(_FIELDS):
        known = ", ".join(sorted(NICKNAMES))
        raise _wrong(
            f"{short(text)} has {len(words)} fields instead of five",
            f"Write minute, hour, day of month, month, day of week, as in '30 4 * * mon-fri', or one of {known}.",
        )
    minutes, hours, days, months, weekdays = map(_numbers, words, _FIELDS)
    found = Cron(
        minutes=tuple(sorted(minutes)),
        hours=tuple(sorted(hours)),
        days=frozenset(days),
        months=frozenset(months),
        weekdays=frozenset(number % 7 for number in weekdays),
        either_day=not words[2].startswith("*") and not words[4].startswith("*"),
        zone=zone,
    )
    if next(found.upcoming(datetime(2024, 1, 1, tzinfo=UTC).timestamp()), None) is None:
        raise _wrong(f"{short(text)} is never due", "Choose a day that the month has.")
    return found


def _numbers(text: str, field: _Field) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise _wrong(f"{field.name}: {short(part)} cannot be read", "Write 5, 1-5, */10, 8-18/2 or 1,15.")
        first, last, step = match.groups()
        if first == "*":
            low, high = field.least, min(field.most, 6) if field.name == "day of week" else field.most
            if last is not None:
                raise _wrong(f"{field.name}: {short(part)} cannot be read", "Write * alone, or a range of numbers.")
        else:
            low = _number(first, field)
            high = _number(last, field) if last is not None else field.most if step is not None else low
        if low > high:
            raise _wrong(f"{field.name}: {short(part)} goes backwards", "Put the smaller one first.")
        if step is not None and int(step) == 0:
            raise _wrong(f"{field.name}: {short(part)} has a step of 0", "Give a step of 1 or more.")
        found.update(range(low, high + 1, int(step or 1)))
    return found


def _number(text: str, field: _Field) -> int:
    words = {word: number for number, word in enumerate(field.words.split(), field.least)}
    number = int(text) if text.isdecimal() else words.get(text.lower())
    if number is None or not field.least <= number <= field.most:
        names = f", or {', '.join(words)}" if words else ""
        problem = f"{field.name}: {short(text)} is not {field.least} to {field.most}{names}"
        raise _wrong(problem, "Correct it and try again.")
    return number


def _wrong(problem: str, remedy: str) -> errors.InvalidField:
    return errors.InvalidField.of("cron", problem, remedy)
