"""The kernel's own count of kills for want of memory."""

from __future__ import annotations

from pathlib import Path

from workers.agent.memory import MemoryWatch


def test_a_kill_for_want_of_memory_is_seen_at_the_next_look(tmp_path: Path) -> None:
    source = tmp_path / "vmstat"
    source.write_text("pgfault 17\noom_kill 4\noom_killer 9\n")
    watch = MemoryWatch(source)
    assert not watch.was_short()

    source.write_text("pgfault 18\noom_kill 5\n")

    assert watch.was_short()
    assert watch.was_short()


def test_where_nobody_counts_nothing_is_claimed(tmp_path: Path) -> None:
    watch = MemoryWatch(tmp_path / "absent")

    watch.look()

    assert not watch.was_short()
