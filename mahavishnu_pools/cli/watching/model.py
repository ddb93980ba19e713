"""What ``watch`` knows of the pools: figures over time, order, what is selected. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mahavishnu_pools.schemas.pool import PoolInfo

#: Looks that a sparkline shows.
KEPT = 16

#: What the rows may be ordered by, in the order the key goes through them.
ORDERS = ("created", "name", "status", "load", "throughput", "failed")

_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Row:
    """One pool with its history: the load, and the tasks that ended a second, of the last looks."""

    pool: PoolInfo
    loads: tuple[float, ...]
    rates: tuple[float, ...]


@dataclass(slots=True)
class _History:
    ended: int
    at: float
    loads: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    rates: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))


class Monitor:
    """The state of the screen. ``seen`` takes a look at the pools, ``rows`` are in the chosen order."""

    def __init__(self) -> None:
        self.order = ORDERS[0]
        self._histories: dict[str, _History] = {}
        self._pools: tuple[PoolInfo, ...] = ()
        self._selected: str | None = None

    def seen(self, pools: Sequence[PoolInfo], *, at: float) -> None:
        """Take a look at the pools, made at a moment in seconds of a clock that never goes back."""
        self._pools = tuple(pools)
        for pool in pools:
            ended = pool.tasks_completed + pool.tasks_failed
            history = self._histories.get(pool.pool_id)
            if history is None:
                history = self._histories[pool.pool_id] = _History(ended, at)
            elif at > history.at:
                history.rates.append(max(0, ended - history.ended) / (at - history.at))
                history.ended, history.at = ended, at
            history.loads.append(pool.load)
        living = {pool.pool_id for pool in pools}
        self._histories = {one: history for one, history in self._histories.items() if one in living}

    @property
    def active(self) -> int:
        """Return how many pools take tasks."""
        return sum(pool.status.value in ("running", "degraded") for pool in self._pools)

    @property
    def rows(self) -> list[Row]:
        """Return the rows in the chosen order."""
        rows = []
        for pool in self._pools:
            history = self._histories[pool.pool_id]
            rows.append(Row(pool, tuple(history.loads), tuple(history.rates)))
        return sorted(rows, key=lambda row: _rank(row, self.order))

    @property
    def selected(self) -> int:
        """Return the place of the selected row; 0 when nothing was selected, or it is gone."""
        places = [place for place, row in enumerate(self.rows) if row.pool.pool_id == self._selected]
        return places[0] if places else 0

    @property
    def selected_pool(self) -> PoolInfo | None:
        """Return the selected pool, None when there is no pool."""
        rows = self.rows
        return rows[self.selected].pool if rows else None

    def move(self, by: int) -> None:
        """Select another row, so many further down."""
        rows = self.rows
        if rows:
            self._selected = rows[max(0, min(len(rows) - 1, self.selected + by))].pool.pool_id

    def sort(self) -> None:
        """Order the rows by what comes next; the selected pool stays selected."""
        self.move(0)
        self.order = ORDERS[(ORDERS.index(self.order) + 1) % len(ORDERS)]


def sparkline(values: Sequence[float], *, top: float | None = None) -> str:
    """Return a bar for each value; ``top`` is what the highest bar stands for (None: the highest value)."""
    most = max(values, default=0.0) if top is None else top
    if most <= 0:
        return _BARS[0] * len(values)
    return "".join(_BARS[min(len(_BARS) - 1, round(value / most * (len(_BARS) - 1)))] for value in values)


def _rank(row: Row, order: str) -> tuple[float | str, str]:
    pool = row.pool
    ranks: dict[str, float | str] = {
        "created": pool.created_at,
        "name": pool.name,
        "status": pool.status.value,
        "load": -pool.load,
        "throughput": -(row.rates[-1] if row.rates else 0.0),
        "failed": -pool.tasks_failed,
    }
    return ranks[order], pool.name
