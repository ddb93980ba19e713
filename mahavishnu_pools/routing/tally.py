"""How far a submit came: which tasks are queued for sure, which are not, and of which nobody knows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from mahavishnu_pools import errors
from mahavishnu_pools.store.calls import Call

T = TypeVar("T")

#: Runs of places that a sentence names; the error's data has all.
_RUNS_SHOWN = 5


class Tally:
    """Counts the tasks of one submit, by their places in it (from 0). ``ids`` are those they are sent with.

    ``keyed``: each has an idempotency key, so that all may be sent again. ``what`` is what people call one of them.
    ``followed``: one more task, which is not among them, is to reduce them.
    """

    def __init__(
        self, ids: Sequence[str], *, batch: str | None, keyed: bool, what: str = "task", followed: bool = False
    ) -> None:
        self._ids = ids
        self._batch = batch
        self._keyed = keyed
        self._what = what
        self._followed = followed
        self._queued: dict[int, str] = {}
        self._on_their_way: Sequence[int] = ()

    def watched(self, call: Call[T], places: Sequence[int], *, ids: Callable[[T], Iterable[str]]) -> Call[T]:
        """Return a call that queues the tasks of these places; ``ids`` makes of its answer those they have now."""
        self._on_their_way = places

        def parse(reply: Any) -> T:
            self._on_their_way = ()
            found = call.parse(reply)
            self._queued.update(zip(places, ids(found), strict=False))
            return found

        return replace(call, parse=parse)

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Have errors say what became of the tasks."""
        try:
            yield
        except errors.MahavishnuError as exc:
            told = self.told(exc)
            if told is exc:
                raise
            raise told from exc

    def told(self, exc: errors.MahavishnuError) -> errors.MahavishnuError:
        """Return an error that broke the submit, with what became of the tasks; the error itself if none was sent."""
        lost = self._on_their_way if exc.details().get("maybe_done") else ()
        if not self._queued and not lost and not isinstance(exc, errors.Unavailable):
            return exc
        queued = dict(sorted(self._queued.items()))
        unknown = {place: self._ids[place] for place in sorted(lost)}
        others = {place: one for place, one in enumerate(self._ids) if place not in queued and place not in unknown}
        said = self._said(queued, others, unknown)
        data = {"batch_id": self._batch, "queued": queued, "not_queued": others, "unknown": unknown}
        return exc.but(f"{exc.message} {said}".rstrip(), **data)

    def _said(self, queued: dict[int, str], others: dict[int, str], unknown: dict[int, str]) -> str:
        total = len(self._ids)
        if len(others) == total:
            return f"None of the {total} {self._what}s is queued." if total > 1 else ""
        if len(queued) == total:
            return self._all(queued)
        if total == 1:
            look = f"Before you repeat it, look when Redis answers again: mahavishnu pools task {unknown[0]}"
            remedy = "Repeat it: its idempotency key finds one that is there." if self._keyed else look
            return f"Whether the {self._what} is queued is not known. {remedy}"
        parts = [
            f"{len(some)} {text}{_runs(some)}"
            for some, text in ((queued, "queued"), (others, "not queued"), (unknown, "not known"))
            if some
        ]
        return f"Of {total} {self._what}s: {', '.join(parts)}{self._in_batch()}. {self._remedy()}"

    def _all(self, queued: dict[int, str]) -> str:
        some = f"All {len(queued)} {self._what}s are" if len(queued) > 1 else f"The {self._what} is"
        there = f"{some} queued{self._in_batch()}"
        if not self._followed:
            return f"{there}; nothing is to be sent again."
        remedy = "Repeat the call: no key is queued twice." if self._keyed else "Their results are in the batch."
        return f"{there}, but what reduces them may be missing. {remedy}"

    def _in_batch(self) -> str:
        return "" if self._batch is None else f", batch {self._batch}"

    def _remedy(self) -> str:
        if self._keyed:
            return f"Repeat the call: each {self._what} has an idempotency key, so none is queued twice."
        first = ""
        if self._batch is not None:
            first = f", or first cancel what is there (mahavishnu pools cancel --batch {self._batch})"
        return (
            f"What is queued runs, so do not repeat the call: send the others alone{first}. "
            "With idempotency keys it could be repeated as it is."
        )


def _runs(places: Iterable[int]) -> str:
    """Return places as people count them, in brackets: `` (1 to 500, 901)``; nothing where they are too scattered."""
    runs: list[list[int]] = []
    for place in places:
        if runs and place == runs[-1][1] + 1:
            runs[-1][1] = place
        else:
            runs.append([place, place])
    if len(runs) > _RUNS_SHOWN:
        return ""
    shown = (f"{first + 1}" if first == last else f"{first + 1} to {last + 1}" for first, last in runs)
    return f" ({', '.join(shown)})"
