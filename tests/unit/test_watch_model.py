"""What the screen of ``watch`` shows: figures over time, order, selection, keys."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from rich.console import Console

from mahavishnu_pools.cli.watching.keys import decoded
from mahavishnu_pools.cli.watching.lines import lines
from mahavishnu_pools.cli.watching.model import ORDERS, Monitor, sparkline
from mahavishnu_pools.cli.watching.screen import screen
from tests.fakes.cli_manager import pool_info


def monitor_with(*pools: Any) -> Monitor:
    monitor = Monitor()
    monitor.seen(pools, at=0.0)
    return monitor


def names(monitor: Monitor) -> list[str]:
    return [row.pool.name for row in monitor.rows]


def drawn(monitor: Monitor, *, height: int = 40, message: str = "") -> str:
    console = Console(width=200, height=height, record=True, file=None, force_terminal=False)
    with console.capture() as capture:
        console.print(screen(monitor, console=console, message=message))
    return capture.get()


def test_a_rate_is_what_ended_since_the_last_look_by_time() -> None:
    monitor = monitor_with(pool_info("a", tasks_completed=10, tasks_failed=1))

    monitor.seen([pool_info("a", tasks_completed=15, tasks_failed=2)], at=2.0)
    monitor.seen([pool_info("a", tasks_completed=0)], at=3.0)  # counted from zero again: it is another one's work

    assert monitor.rows[0].rates == (3.0, 0.0)


def test_a_pool_that_is_gone_is_forgotten() -> None:
    monitor = monitor_with(pool_info("a"), pool_info("b"))
    monitor.move(1)

    monitor.seen([pool_info("a")], at=1.0)

    assert names(monitor) == ["a"]
    assert monitor.selected_pool is not None
    assert monitor.selected_pool.name == "a"


def test_the_key_goes_through_the_orders_and_the_selected_pool_stays_selected() -> None:
    monitor = monitor_with(
        pool_info("b", created_at=1.0, queued=1),
        pool_info("a", created_at=2.0),
        pool_info("c", created_at=3.0, queued=9),
    )
    monitor.move(1)
    seen = {monitor.order: names(monitor)}

    for _ in ORDERS[1:]:
        monitor.sort()
        seen[monitor.order] = names(monitor)
        assert monitor.selected_pool is not None
        assert monitor.selected_pool.name == "a"

    assert (seen["created"], seen["name"], seen["load"]) == (["b", "a", "c"], ["a", "b", "c"], ["c", "b", "a"])
    assert list(seen) == list(ORDERS)


def test_the_selection_ends_at_the_first_and_the_last_row() -> None:
    monitor = monitor_with(pool_info("a"), pool_info("b"))

    monitor.move(-1)
    first = monitor.selected
    monitor.move(5)

    assert (first, monitor.selected) == (0, 1)
    assert Monitor().selected_pool is None


@pytest.mark.parametrize(
    ("values", "top", "bars"),
    [((0.0, 1.0, 2.0), None, "▁▅█"), ((0.0, 0.0), None, "▁▁"), ((), None, ""), ((1.0,), 4.0, "▃"), ((9.0,), 4.0, "█")],
)
def test_a_sparkline_has_a_bar_for_each_value(values: tuple[float, ...], top: float | None, bars: str) -> None:
    assert sparkline(values, top=top) == bars


def test_the_screen_shows_the_pools_a_message_and_the_keys() -> None:
    shown = drawn(
        monitor_with(pool_info("local", tasks_completed=152, tasks_failed=3)), message="Pool local is paused."
    )

    assert "Pool Monitor (Active: 1)" in shown
    for text in ("pool_local", "● running", "5/10", "152", "Pool local is paused.", "q quit"):
        assert text in shown


def test_rows_that_do_not_fit_are_left_out_but_for_the_selected_one() -> None:
    monitor = monitor_with(*(pool_info(f"p{number:02}", created_at=float(number)) for number in range(30)))
    monitor.move(25)

    shown = drawn(monitor, height=15)

    assert "p25" in shown
    assert "p00" not in shown
    assert "23 more pools" in shown
    assert len(shown.splitlines()) <= 15


def test_names_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in drawn(monitor_with(pool_info("local", pool_type="\x1b[2J")))


def test_an_empty_screen_says_how_to_make_a_pool() -> None:
    assert "mahavishnu pools spawn" in drawn(Monitor())


def test_lines_are_for_logs() -> None:
    at = datetime(2026, 2, 5, 10, 23, 45)  # noqa: DTZ001 - shown as it is

    text = lines([pool_info("local", queued=2), pool_info("other")], at=at)

    assert text.splitlines()[0] == (
        "10:23:45 local running      workers=5 running=0 queued=2 completed=0 failed=0 load=0.40"
    )
    assert lines([], at=at) == "10:23:45 no pools"


def test_bytes_of_the_terminal_are_keys() -> None:
    assert decoded(b"\x1b[Aq\x1bOBp+") == ["up", "q", "down", "p", "+"]
    assert decoded(b"\x1b") == []
