"""A stack whose state file was lost or damaged: it is found, repaired and stopped all the same."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.embedded import health, readiness, stack
from mahavishnu_pools.embedded.data_dir import DataDir, is_locked, try_lock
from mahavishnu_pools.embedded.identity import identify, is_alive
from mahavishnu_pools.embedded.state import PartState, PartStatus, StackState, read_state, write_state
from mahavishnu_pools.settings import Settings
from tests.fixtures.local_stack import DEAF_AGENT, client, healthy, kill, marked, parts_with, process, start
from tests.waiting import eventually


def freeze(state: StackState) -> int:
    """Stop the supervisor as it is, so that it repairs nothing; return its pid."""
    assert state.supervisor is not None
    os.kill(state.supervisor.pid, signal.SIGSTOP)
    return state.supervisor.pid


@pytest.mark.parametrize("text", [None, "", "{", '{"schema": 99}'])
def test_the_supervisor_writes_a_lost_or_damaged_state_file_again(
    make_settings: Callable[..., Settings], text: str | None
) -> None:
    settings = make_settings()
    state = start(settings)
    written = DataDir(settings.data_dir).state_file

    written.unlink()
    if text is not None:
        written.write_text(text)

    assert healthy(settings)
    assert stack.find_redis_url(settings) == state.redis_url
    assert start(settings).supervisor == state.supervisor
    eventually(lambda: '"schema": 1' in written.read_text() if written.exists() else False)
    assert read_state(settings.data_dir) == state


def test_without_its_state_file_a_stack_is_known_from_the_lock(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    state = start(settings)
    data = DataDir(settings.data_dir)
    pid = freeze(state)
    data.state_file.unlink()

    try:
        assert read_state(settings.data_dir) == state
        assert healthy(settings)
        with client(state) as connection:
            assert connection.ping()
        password = client(state).connection_pool.connection_kwargs["password"]
        assert password not in data.lock_file.read_text()
    finally:
        os.kill(pid, signal.SIGCONT)


def test_down_ends_a_stack_that_lost_supervisor_and_state_file(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    state = start(settings)
    kill(state.supervisor)
    DataDir(settings.data_dir).state_file.unlink()

    assert stack.stop(settings.data_dir, drain_seconds=5) is not None

    assert (settings.data_dir / "drained").exists()
    assert not marked(settings)


def test_starting_again_takes_over_what_lives_also_without_the_state_file(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings()
    state = start(settings)
    kill(state.supervisor)
    DataDir(settings.data_dir).state_file.unlink()

    repaired = start(settings)

    assert process(repaired, "redis") == process(state, "redis")
    assert process(repaired, "agent") == process(state, "agent")


def test_a_stack_nobody_can_read_anything_about_is_never_called_stopped_while_it_lives(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings()
    state = start(settings)
    data = DataDir(settings.data_dir)
    pid = freeze(state)
    data.state_file.unlink()
    os.truncate(data.lock_file, 0)

    try:
        with pytest.raises(errors.StackPartFailed, match=r"supervisor holds .*supervisor\.lock.*mahavishnu down"):
            health.examine(settings.data_dir)
        assert is_locked(data.lock_file)
        assert stack.stop(settings.data_dir, drain_seconds=5) is not None
    finally:
        if is_alive(state.supervisor):
            os.kill(pid, signal.SIGCONT)

    assert not is_locked(data.lock_file)
    assert not marked(settings)


def test_down_is_an_error_while_somebody_unknown_holds_the_lock(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    data = DataDir(settings.data_dir)
    data.create()
    lock = try_lock(data.lock_file)
    assert lock is not None

    try:
        with pytest.raises(errors.StackPartFailed, match=r"does not end: .*supervisor\.lock is still locked"):
            stack.stop(settings.data_dir, drain_seconds=0)
    finally:
        os.close(lock)


def test_a_frozen_supervisor_ends_soon_and_in_good_order(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    state = start(settings)
    freeze(state)
    began = time.monotonic()

    stack.stop(settings.data_dir, drain_seconds=100)

    # What is drained by then is not waited for any longer.
    assert time.monotonic() - began < 50
    assert (settings.data_dir / "drained").exists()
    assert not marked(settings)


@pytest.mark.slow
def test_up_does_not_wait_for_ever_for_a_stack_that_is_being_stopped(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings()
    state = start(settings)
    freeze(state)
    me = identify(os.getpid())
    stopping = tuple(replace(part, status=PartStatus.STOPPING) for part in state.parts)
    write_state(replace(state, supervisor=me, parts=stopping, drain_seconds=0.1))
    monkeypatch.setattr(stack, "STOP_EXTRA", 0.2)

    with pytest.raises(errors.StackPartFailed, match=r"is being stopped .*'mahavishnu down --data-dir "):
        start(settings)

    write_state(state)


def test_up_starts_a_stack_anew_that_somebody_stops_the_moment_it_is_found(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(drain_timeout=1.0)
    state = start(settings, parts=parts_with(DEAF_AGENT))
    assert state.supervisor is not None
    supervisor, hurry = state.supervisor, stack._hurry

    def stopped_first(found: StackState) -> bool:
        if found.supervisor == supervisor:
            os.kill(supervisor.pid, signal.SIGTERM)
            eventually(lambda: all(part.is_stopping for part in read_state(settings.data_dir).parts))  # type: ignore[union-attr]
        return hurry(found)

    monkeypatch.setattr(stack, "_hurry", stopped_first)

    again = start(settings)

    assert again.supervisor != supervisor
    assert healthy(settings)


def test_how_long_the_last_stack_was_to_drain_says_nothing_of_the_next(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    data = DataDir(settings.data_dir)
    data.create()
    data.drain_file.write_text("0")

    start(settings)

    assert not data.drain_file.exists()


def test_up_wakes_a_frozen_supervisor(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    state = start(settings)
    freeze(state)
    kill(process(state, "agent"))

    again = start(settings)

    assert again.supervisor == state.supervisor
    assert process(again, "agent") != process(state, "agent")


def test_down_ends_a_stack_whose_directory_was_removed(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    start(settings)
    shutil.rmtree(settings.data_dir)

    assert stack.stop(settings.data_dir, drain_seconds=5) is not None

    assert not marked(settings)
    assert not settings.data_dir.exists()


def test_a_part_that_died_since_it_was_written_down_is_not_taken_for_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = identify(os.getpid())
    assert me is not None
    agent = PartState("agent", PartStatus.RUNNING, process=replace(me, born="1-earlier"))
    write_state(StackState(tmp_path, redis_url=None, external=True, supervisor=me, parts=(agent,)))
    monkeypatch.setattr(readiness, "START_TIMEOUT", 0.1)

    with pytest.raises(errors.StackPartFailed, match="'agent' of the stack does not come up: it has ended"):
        readiness.wait_ready(DataDir(tmp_path), {})
