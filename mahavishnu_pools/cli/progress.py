"""A live bar on standard error: percentage, how many, time passed and left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Told how many tasks have ended, out of how many.
Advance = Callable[[int, int], None]


@contextmanager
def bar(title: str) -> Iterator[Advance]:
    """Show a bar while the block runs; what it yields moves it."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        shown = progress.add_task(title, total=1)

        def advance(done: int, total: int) -> None:
            progress.update(shown, completed=done, total=total)

        yield advance
