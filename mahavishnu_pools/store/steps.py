"""Several calls in a row whose arguments depend on earlier replies, written once for coroutines and threads.

A plan is a generator: it yields calls, gets their replies, and returns its result. Errors of a call are raised at its
``yield``, so a plan handles them like any other code.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeVar

from mahavishnu_pools import errors
from mahavishnu_pools.store.calls import Call
from mahavishnu_pools.store.tasks import Overlapping, StaleRegistry

if TYPE_CHECKING:
    from mahavishnu_pools.store.client import AsyncStore, SyncStore

T = TypeVar("T")

#: A plan: yields calls, returns a T.
Steps = Generator[Call[Any], Any, T]


async def run_steps(store: AsyncStore, steps: Steps[T]) -> T:
    """Carry out a plan on the store for coroutines."""
    try:
        call = next(steps)
        while True:
            try:
                reply = await store.run(call)
            except (StaleRegistry, Overlapping, errors.MahavishnuError) as exc:
                call = steps.throw(exc)
            else:
                call = steps.send(reply)
    except StopIteration as done:
        result: T = done.value
        return result


def run_steps_sync(store: SyncStore, steps: Steps[T]) -> T:
    """Carry out a plan on the store for threads."""
    try:
        call = next(steps)
        while True:
            try:
                reply = store.run(call)
            except (StaleRegistry, Overlapping, errors.MahavishnuError) as exc:
                call = steps.throw(exc)
            else:
                call = steps.send(reply)
    except StopIteration as done:
        result: T = done.value
        return result
