"""Values about limits: how fast a pool may start tasks, what it may spend, what was spent, which programs cool down."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from mahavishnu_pools.schemas.base import MappingValue, Value
from mahavishnu_pools.wording import short

#: Seconds of the units of a rate limit, as Celery writes them.
UNITS: Mapping[str, int] = MappingProxyType({"s": 1, "m": 60, "h": 3600})

_RATE = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)/([smh])")


def is_rate(value: str) -> bool:
    """Tell whether a text is a rate of more than nothing."""
    match = _RATE.fullmatch(value)
    return match is not None and float(match[1]) > 0


def _rate_is_usable(value: str) -> str:
    if not is_rate(value):
        raise ValueError(f"{short(value)} is no rate: write tasks per second, minute or hour, as 2/s, 30/m or 100/h")
    return value


def per_second(rate: str) -> float:
    """Return how many starts a second a rate is; it must be one."""
    number, _, unit = rate.partition("/")
    return float(number) / UNITS[unit]


#: So many task starts per second, minute or hour: ``2/s``, ``30/m``, ``0.5/h``.
Rate = Annotated[str, AfterValidator(_rate_is_usable)]


class Budget(Value):
    """What the AI tasks of a pool may spend before it pauses: US dollars, tokens (input and output), or both.

    ``per`` is ``day`` (UTC; the pool goes on the next day) or ``life`` (it goes on when somebody resumes it).
    """

    usd: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    tokens: int | None = Field(default=None, gt=0)
    per: Literal["day", "life"] = "day"

    @model_validator(mode="after")
    def _something_is_limited(self) -> Self:
        if self.usd is None and self.tokens is None:
            raise ValueError("a budget needs usd or tokens")
        return self


class Usage(MappingValue):
    """What AI programs reported: tokens read and written, and what they cost in US dollars (0 where none is told)."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    runs: int = 0


class UsageRow(Usage):
    """The usage of one pool by one task type on one day (UTC)."""

    day: date
    pool: str
    task_type: str


class CoolDown(MappingValue):
    """A worker type whose provider said "too many requests": no task starts with it until ``ends`` (epoch seconds).

    With a ``node`` it is not logged in there, and starts on others.
    """

    worker_type: str
    node: str | None = None
    ends: float
    because: str
    pool: str
