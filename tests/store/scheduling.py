"""What tests of schedules share: schedules that are due, and plans of beat carried out a call at a time."""

from __future__ import annotations

import time
from typing import Any

from mahavishnu_pools.routing.chooser import Chooser
from mahavishnu_pools.routing.submission import Sender
from mahavishnu_pools.schedules.sending import Way, send_due
from mahavishnu_pools.schemas.pool import PoolSelector
from mahavishnu_pools.schemas.schedule import Schedule
from mahavishnu_pools.store import schedules, tasks
from mahavishnu_pools.store.calls import Call
from mahavishnu_pools.store.steps import Steps, run_steps_sync
from tests.store.world import World


def way() -> Way:
    return Way(Chooser(default=PoolSelector.LEAST_LOADED), Sender("beat", 1_000_000), 600.0)


def look(world: World) -> int:
    return run_steps_sync(world.store, send_due(way()))


def add(world: World, name: str = "s", *, late: float = 1.0, **fields: Any) -> float:
    """Make a schedule that has been due since so many seconds; returns its planned time."""
    planned = time.time() - late
    given = {"name": name, "created_at": planned - 3600, "every": 3600.0, "task": {"prompt": "x"}, **fields}
    world.run(schedules.add_schedule(Schedule.model_validate(given), next_at=planned))
    return planned


def outcomes(world: World, name: str = "s") -> list[str]:
    return [run.outcome for run in world.run(schedules.read_runs(name))]


def again(world: World, name: str = "s") -> None:
    """Have a schedule be due once more."""
    world.redis.hset(world.key("schedule", name), "next", f"{time.time():.6f}")
    world.redis.zadd(world.key("schedules"), {name: 0})


def until(world: World, steps: Steps[int], script: str, reply: Any) -> Call[Any]:
    """Carry out a plan whose first call was answered as far as a call of this script, and return that."""
    call = steps.send(reply)
    while call.script != script:
        call = following(world, steps, call)
    return call


def following(world: World, steps: Steps[int], call: Call[Any]) -> Call[Any]:
    """Carry out a call of a plan, and return the next one."""
    try:
        reply = world.run(call)
    except tasks.Overlapping as exc:
        return steps.throw(exc)
    return steps.send(reply)


def finish(world: World, steps: Steps[int], reply: Any) -> int:
    """Carry out the rest of a plan whose first call was answered."""
    try:
        call = steps.send(reply)
        while True:
            call = following(world, steps, call)
    except StopIteration as done:
        sent: int = done.value
        return sent
