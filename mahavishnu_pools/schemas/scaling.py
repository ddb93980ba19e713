"""What is seen of a pool when it is decided how many workers it needs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen of a pool at a time (seconds).

    ``queued`` tasks could run now, had they workers. ``waited`` is how long the longest waiting task has waited.
    ``ended`` counts runs that ended since the pool was made, ``run_seconds`` is how long they took together.
    ``chosen_at`` is when somebody chose the number of workers by hand, None: never. ``rate`` is how many tasks a second
    the pool may start, None: any number.
    """

    at: float
    workers: int
    queued: int
    running: int
    waited: float
    ended: int
    run_seconds: float
    chosen_at: float | None = None
    rate: float | None = None
