"""The local stack when its processes are killed one by one: the rest goes on, it is seen, it is repaired."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.embedded import health, stack
from mahavishnu_pools.embedded.identity import is_alive
from mahavishnu_pools.embedded.parts import PYTHON
from mahavishnu_pools.embedded.readiness import GIVE_UP_AFTER
from mahavishnu_pools.embedded.state import PartStatus, read_state
from mahavishnu_pools.settings import Settings
from tests.fixtures.local_stack import (
    AGENT,
    STAND_INS,
    client,
    healthy,
    kill,
    marked,
    part,
    parts_with,
    process,
    start,
)
from tests.waiting import eventually

# ── kill -9 ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["redis", "agent", "beat"])
def test_a_killed_part_is_started_again_and_the_rest_goes_on(make_settings: Callable[..., Settings], name: str) -> None:
    settings = make_settings()
    state = start(settings)
    others = {row.process for row in state.parts if row.name != name}
    with client(state) as connection:
        connection.set("kept", "yes")

    kill(process(state, name))

    again = eventually(
        lambda: read_state(settings.data_dir),
        until=lambda now: (
            part(now, name).restarts and part(now, name).status is PartStatus.RUNNING and healthy(settings)
        ),
    )
    assert part(again, name).restarts == 1
    assert part(again, name).last_error == "was ended by SIGKILL"
    assert part(again, name).reason is None
    assert others < {row.process for row in again.parts}  # type: ignore[union-attr]
    assert again.redis_url == state.redis_url  # type: ignore[union-attr]
    with client(state) as connection:
        assert connection.get("kept") == "yes"
    stack.stop(settings.data_dir, drain_seconds=5)
    assert not marked(settings)


def test_without_its_supervisor_the_parts_go_on_and_status_says_so(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    state = start(settings)

    kill(state.supervisor)

    seen = health.examine(settings.data_dir)
    assert part(seen, "supervisor").status is PartStatus.DEAD
    assert "mahavishnu up" in str(part(seen, "supervisor").reason)
    assert all(is_alive(row.process) for row in state.parts)
    assert seen is not None
    assert health.health_of(seen) is health.Health.DEGRADED


def test_starting_again_takes_over_the_living_parts_and_replaces_the_dead_one(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings()
    state = start(settings)
    kill(state.supervisor)
    kill(process(state, "beat"))
    assert "mahavishnu up" in str(part(health.examine(settings.data_dir), "beat").reason)

    repaired = start(settings)

    assert repaired.supervisor != state.supervisor
    assert process(repaired, "redis") == process(state, "redis")
    assert process(repaired, "agent") == process(state, "agent")
    assert process(repaired, "beat") != process(state, "beat")
    assert repaired.redis_url == state.redis_url


def test_a_part_that_was_taken_over_is_started_again_when_it_is_killed(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    state = start(settings)
    kill(state.supervisor)
    taken_over = start(settings)

    kill(process(taken_over, "redis"))

    eventually(lambda: part(read_state(settings.data_dir), "redis").restarts == 1 and healthy(settings))


def test_the_server_is_found_again_even_when_nobody_wrote_down_that_it_was_started(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings()
    state = start(settings)
    kill(state.supervisor)
    kill(process(state, "agent"))
    kill(process(state, "beat"))
    (settings.data_dir / "stack.json").unlink()

    repaired = start(settings)

    assert process(repaired, "redis") == process(state, "redis")
    assert repaired.redis_url == state.redis_url


def test_a_part_that_ends_again_and_again_is_never_shown_as_running(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    state = start(settings)
    flag = settings.data_dir / "beat-ends"
    beat = f"import os, time\nwhile not os.path.exists({str(flag)!r}): time.sleep(0.02)\ntime.sleep(0.5)"
    kill(state.supervisor)
    kill(process(state, "beat"))
    start(settings, parts=(*STAND_INS[:2], replace(STAND_INS[2], argv=(PYTHON, "-c", beat))))

    flag.touch()

    seen: set[PartStatus] = set()

    def restarts() -> int:
        beat_now = part(read_state(settings.data_dir), "beat")
        # How long it must live grows with each failure: from the second on a slow start is not enough.
        if beat_now.restarts >= 2:
            seen.add(beat_now.status)
        return beat_now.restarts

    eventually(restarts, until=lambda count: count >= 4, within=30)
    assert seen == {PartStatus.RESTARTING, PartStatus.STARTING}
    assert not healthy(settings)


def test_a_frozen_server_is_seen(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    state = start(settings)
    os.kill(process(state, "redis").pid, signal.SIGSTOP)

    seen = health.examine(settings.data_dir)

    assert part(seen, "redis").status is PartStatus.UNREACHABLE
    assert seen is not None
    assert health.health_of(seen) is health.Health.UNREACHABLE


# ── up after an outage ───────────────────────────────────────────────────────────────────────────────────────────────


def outage(settings: Settings) -> Path:
    """Start a stack whose agent ends at once while a file exists, let it fail five times, and return the file."""
    flag = settings.data_dir.with_name("away")
    agent = f"import pathlib, sys\nif pathlib.Path({str(flag)!r}).exists(): sys.exit('no Redis')\n{AGENT}"
    state = start(settings, parts=parts_with(agent))
    flag.touch()
    kill(process(state, "agent"))
    eventually(lambda: part(read_state(settings.data_dir), "agent").failures >= 5, within=30)
    return flag


def test_up_after_a_long_outage_does_not_count_what_failed_before_and_does_not_wait(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings()
    flag = outage(settings)
    flag.unlink()

    state = start(settings)

    assert part(state, "agent").status is PartStatus.RUNNING
    # The supervisor's own next attempt, seconds later, would have counted what failed before.
    assert part(state, "agent").failures == 0


def test_up_in_the_middle_of_an_outage_tries_anew_and_says_what_fails(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    outage(settings)
    before = part(read_state(settings.data_dir), "agent").restarts

    with pytest.raises(errors.StackPartFailed, match=r"'agent'.*no Redis"):
        start(settings)

    assert part(read_state(settings.data_dir), "agent").restarts >= before + GIVE_UP_AFTER
