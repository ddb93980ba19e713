"""Calls about limits: cool-downs of worker types, what was used, budgets that are renewed."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.limits import CoolDown, UsageRow, is_rate, per_second
from mahavishnu_pools.store.calls import Argument, Call, pairs
from mahavishnu_pools.store.pool_changes import change_by
from mahavishnu_pools.store.pools import PoolRecord
from mahavishnu_pools.store.steps import Steps
from mahavishnu_pools.wording import short

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: Days of usage that are kept.
USAGE_DAYS = 400

#: Field of the store: name of the value.
_FIGURES = {"input": "input_tokens", "output": "output_tokens", "usd": "cost_usd", "runs": "runs"}


@dataclass(frozen=True, slots=True)
class Spent:
    """What a pool has used: US dollars and tokens."""

    usd: float
    tokens: int


@dataclass(frozen=True, slots=True)
class LimitsSeen:
    """The worker types that cool down now, and what the pools asked for have used today (UTC) and in their life."""

    cool_downs: tuple[CoolDown, ...]
    today: tuple[Spent, ...]
    life: tuple[Spent, ...]


def read_limits(*pool_ids: str) -> Call[LimitsSeen]:
    """Read cool-downs, and what these pools have used, in their order."""

    def parse(reply: list[Any]) -> LimitsSeen:
        cooling, *spent = reply
        return LimitsSeen(
            tuple(sorted((_cool_down(*item) for item in pairs(cooling).items()), key=_field)),
            tuple(Spent(float(one[0]), int(one[1])) for one in spent),
            tuple(Spent(float(one[2]), int(one[3])) for one in spent),
        )

    return Call("limits_read", pool_ids, parse)


def end_cool_down(cooling: CoolDown) -> Call[bool]:
    """Let prompts start with a worker type again; False when it did not cool down."""
    return Call("cooldown_end", (_field(cooling), cooling.ends, ""), bool)


def note_cooled_down() -> Call[list[str]]:
    """Note in the journal which worker types have cooled down since, each once; returns them."""
    return Call("cooldowns_over", (), list)


def free_cooling(cooling: CoolDown, pool_id: str) -> Call[int]:
    """Have tasks of a pool that waited for the end of a cool-down looked at now; repeat until 0 are."""
    return Call("cooldown_end", (_field(cooling), f"{cooling.ends:.6f}", pool_id), int)


def end_everywhere(cooling: CoolDown, pool_ids: Sequence[str]) -> Steps[int]:
    """End a cool-down, and have what waited for it in these pools looked at now; returns how many tasks that were."""
    yield end_cool_down(cooling)
    freed = 0
    for pool_id in pool_ids:
        while count := (yield free_cooling(cooling, pool_id)):
            freed += count
    return freed


def limit_rate(pool_id: str, *, rate: str | None) -> Steps[None]:
    """Give a pool another rate limit, None: no limit.

    Raises:
        InvalidField: it is no rate.
        PoolNotFound, PoolGone: there is no such pool.
    """
    if rate is not None and not is_rate(rate):
        remedy = "Write tasks per second, minute or hour: 2/s, 30/m or 100/h."
        raise errors.InvalidField.of("rate_limit", f"is {short(rate)}", remedy)

    def fields(record: PoolRecord) -> dict[str, Argument]:
        config = record.config.model_copy(update={"rate_limit": rate}).model_dump_json()
        return {"config": config, "rate": f"{per_second(rate):.9g}" if rate else "", "tokens": "", "tokens_at": ""}

    return change_by(pool_id, fields)


def read_usage(*, days: int) -> Call[tuple[UsageRow, ...]]:
    """Read what was used today and on the days before (1 to 400 in all), newest first, by pool and task type."""

    def parse(reply: list[Any]) -> tuple[UsageRow, ...]:
        rows: list[UsageRow] = []
        for day, flat in zip(reply[::2], reply[1::2], strict=True):
            rows.extend(_rows(int(day), pairs(flat)))
        return tuple(rows)

    return Call("usage_read", ("", min(max(1, days), USAGE_DAYS)), parse)


def renew_budget(pool_id: str) -> Call[bool]:
    """Let a pool go on that was paused because a day's budget was spent, when that day is over; True when it does."""
    return Call("budget_renew", (pool_id,), bool)


def _field(cooling: CoolDown) -> str:
    return cooling.worker_type if cooling.node is None else f"{cooling.worker_type}\n{cooling.node}"


def _cool_down(field: str, text: str) -> CoolDown:
    entry = json.loads(text)
    worker_type, _, node = field.partition("\n")
    return CoolDown(
        worker_type=worker_type, node=node or None, ends=entry["ends"], because=entry["why"], pool=entry["pool"]
    )


def _rows(day: int, fields: dict[str, str]) -> list[UsageRow]:
    found: dict[tuple[str, str], dict[str, Any]] = defaultdict(dict)
    for name, value in fields.items():
        pool, task_type, figure = name.split("\n")
        if figure in _FIGURES:
            number = float(value)
            found[pool, task_type][_FIGURES[figure]] = number if figure == "usd" else round(number)
    date = (_EPOCH + timedelta(days=day)).date()
    return [
        UsageRow(day=date, pool=pool, task_type=task_type, **figures)
        for (pool, task_type), figures in sorted(found.items())
    ]
