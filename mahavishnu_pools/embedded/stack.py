"""Start, find and stop a local stack from outside; the work is done by its supervisor."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mahavishnu_pools import errors
from mahavishnu_pools.embedded import health, output, roots, stopping, valkey
from mahavishnu_pools.embedded.data_dir import DataDir, write_private
from mahavishnu_pools.embedded.identity import identify, is_alive, send_signal
from mahavishnu_pools.embedded.parts import PARTS, REDIS, STACK_VARIABLE, Part, StackSpec
from mahavishnu_pools.embedded.ping import ping, place
from mahavishnu_pools.embedded.planning import plan
from mahavishnu_pools.embedded.readiness import wait_ready
from mahavishnu_pools.embedded.state import (
    PartStatus,
    StackState,
    clear_state,
    is_supervisor_locked,
    read_state,
    settled_state,
)
from mahavishnu_pools.embedded.supervisor import ALREADY_RUNNING, HURRY
from mahavishnu_pools.redis_url import check_url
from mahavishnu_pools.settings import Settings

#: What stopping may take beyond the drain timeout and the time each part gets, in seconds: leftovers.
STOP_EXTRA = 15.0

_POLL = 0.02
_SUPERVISOR = "mahavishnu_pools.embedded.supervisor"


def data_dir_of(settings: Settings) -> Path:
    """Return the absolute path of the configured data directory."""
    return DataDir.at(settings.data_dir).root


def find_redis_url(settings: Settings) -> str | None:
    """Return the configured Redis URL, else the one of the running local stack, else None.

    Raises:
        InvalidConfig: the configured one has no form that can be read.
    """
    if settings.redis_url is not None:
        return check_url(settings.redis_url.get_secret_value())
    state = settled_state(settings.data_dir)
    if state is None or state.redis_url is None:
        return None
    redis = state.part(REDIS)
    serves = redis is not None and (redis.status is PartStatus.EXTERNAL or is_alive(redis.process))
    return state.redis_url if serves or is_alive(state.supervisor) else None


def start(
    settings: Settings, *, detach: bool, parts: Sequence[Part] = PARTS, where: roots.Where = roots.Where.ALSO_HERE
) -> StackState:
    """Start the stack of the configured data directory, or repair it, and wait until its core is ready.

    Args:
        settings: where and how.
        detach: False: the stack ends with this process.
        parts: what to start.
        where: which directories its tasks may work in, when it does not run yet.

    Raises:
        StackPartFailed: a part does not come up; what this call started is stopped again.
        RedisUnavailable: the configured Redis cannot be used.
        InvalidConfig: the data directory is no directory.
    """
    owner = None if detach else identify(os.getpid())
    chosen = roots.choose(settings, where)
    return launch(replace(plan(settings, parts=parts, allowed=chosen.allowed), owner=owner), keep=chosen.kept)


def ensure_running(settings: Settings, *, parts: Sequence[Part] = PARTS) -> StackState:
    """Return the running stack; start one that stays when there is none or when it is not healthy.

    Raises:
        StackPartFailed, RedisUnavailable, InvalidConfig: as ``start``.
    """
    state = health.examine(data_dir_of(settings))
    if state is not None and health.health_of(state) is health.Health.HEALTHY:
        return state
    return start(settings, detach=True, parts=parts)


def launch(spec: StackSpec, *, keep: Sequence[roots.Root] = ()) -> StackState:
    """Start a supervisor with these orders unless one lives already, and wait until the core is ready.

    ``keep`` are the directories to remember for the next start, if it is started here.

    Raises:
        StackPartFailed, RedisUnavailable, InvalidConfig: as ``start``.
    """
    data = DataDir(spec.data_dir)
    data.create()
    while True:
        before = _once_not_stopping(data)
        _check_redis(spec, before)
        fresh = before is None or not any(is_alive(part.process) for part in before.parts)
        joined = before is not None and _hurry(before)
        started_here = False if joined else _start_supervisor(spec, data)
        if started_here and keep:
            roots.remember(data, keep)
        failures = {part.name: part.failures for part in before.parts} if before is not None and joined else {}
        try:
            return wait_ready(data, failures)
        except BaseException as exc:
            if isinstance(exc, errors.StackPartFailed) and not started_here and _is_ending(data):
                continue  # somebody stopped what was joined
            if fresh and started_here:
                stop(data.root, drain_seconds=0)
            raise


def _is_ending(data: DataDir) -> bool:
    state = read_state(data.root)
    return not is_supervisor_locked(data) or (state is not None and any(part.is_stopping for part in state.parts))


def stop(data_dir: Path, *, drain_seconds: float) -> StackState | None:
    """Stop the stack of a data directory and return how it was; None when there was none.

    Args:
        data_dir: the stack's data directory.
        drain_seconds: how long running tasks may go on.

    Raises:
        StackPartFailed: its supervisor lives on.
    """
    data = DataDir.at(data_dir)
    state = _to_stop(data)
    if state is None:
        return None
    if state.supervisor is not None:
        with contextlib.suppress(FileNotFoundError):  # a temporary directory goes away with its stack
            write_private(data.drain_file, str(drain_seconds))
    send_signal(state.supervisor, signal.SIGTERM)
    # A frozen one would hold TERM back for ever.
    send_signal(state.supervisor, signal.SIGCONT)
    deadline = time.monotonic() + _longest_stop(state, drain_seconds)
    while is_alive(state.supervisor) and time.monotonic() < deadline:
        time.sleep(_POLL)
    send_signal(state.supervisor, signal.SIGKILL)
    left = read_state(data.root)
    if left is not None:
        stopping.end_in_order(stopping.endings_of(left, drain_seconds=drain_seconds))
        stopping.end_leftovers(data.root)
        data.drain_file.unlink(missing_ok=True)
        clear_state(data)
    _refuse_survivor(data, state)
    return state


def _to_stop(data: DataDir) -> StackState | None:
    """Return the state; of a stack that nobody can read anything about, all processes are ended here.

    Its directory itself may have been removed.
    """
    state = _readable(data)
    if state is not None:
        return state
    unknown = StackState(data.root, redis_url=None, external=False, supervisor=None, parts=())
    ended = stopping.end_leftovers(data.root)
    _refuse_survivor(data, unknown)
    return unknown if ended else None


def _readable(data: DataDir) -> StackState | None:
    try:
        return settled_state(data.root)
    except errors.StackPartFailed:
        return None


def _refuse_survivor(data: DataDir, state: StackState) -> None:
    """Never call a stack stopped that lives; another one may have been started meanwhile."""
    now = _readable(data)
    if (now is None or now.supervisor == state.supervisor) and is_supervisor_locked(data):
        raise errors.StackPartFailed(
            f"The supervisor of the stack in {data.root} does not end: {data.lock_file} is still locked. "
            "Kill the process that has this file open, then run 'mahavishnu down' again.",
            data_dir=str(data.root),
        )


def _hurry(state: StackState) -> bool:
    """Have a living supervisor try at once what it waits to try again; False: it is gone."""
    send_signal(state.supervisor, signal.SIGCONT)
    return send_signal(state.supervisor, HURRY)


def _once_not_stopping(data: DataDir) -> StackState | None:
    """Return the state; a stack that is being stopped just now is waited for."""
    state = settled_state(data.root)
    began = time.monotonic()
    while state is not None and is_alive(state.supervisor) and any(part.is_stopping for part in state.parts):
        send_signal(state.supervisor, signal.SIGCONT)
        if time.monotonic() - began > _longest_stop(state, _asked_drain(data, state.drain_seconds)):
            raise errors.StackPartFailed(
                f"The stack in {data.root} is being stopped and does not come to its end. End it with "
                f"'mahavishnu down --data-dir {shlex.quote(str(data.root))}', then try again.",
                data_dir=str(data.root),
            )
        time.sleep(_POLL)
        state = read_state(data.root)
    return state


def _longest_stop(state: StackState, drain_seconds: float) -> float:
    return drain_seconds + sum(part.stop_seconds for part in state.parts) + STOP_EXTRA


def _asked_drain(data: DataDir, otherwise: float) -> float:
    try:
        return float(data.drain_file.read_text())
    except (OSError, ValueError):
        return otherwise


def _check_redis(spec: StackSpec, before: StackState | None) -> None:
    """Refuse what can be seen to be wrong before anything is started."""
    if before is not None and is_alive(before.supervisor):
        if not before.uses(spec.redis_url):
            raise errors.StackPartFailed(
                f"A stack with another Redis runs in {spec.data_dir}. Stop it with "
                f"'mahavishnu down --data-dir {shlex.quote(str(spec.data_dir))}', or name another --data-dir.",
                data_dir=str(spec.data_dir),
            )
        return
    if spec.redis_url is not None:
        answer = ping(spec.redis_url)
        if not answer.ready and not answer.loading:
            raise errors.RedisUnavailable(
                f"Redis cannot be used: {answer.reason}. Check MAHAVISHNU_REDIS_URL.", url=place(spec.redis_url)
            )
        return
    redis = before.part(REDIS) if before else None
    if spec.redis_port and not is_alive(redis.process if redis else None) and not valkey.port_is_free(spec.redis_port):
        raise errors.StackPartFailed(
            f"Port {spec.redis_port} (redis_port) is in use by another program. Free it, or choose another one "
            "with MAHAVISHNU_REDIS_PORT (0: any free one).",
            part=REDIS,
            port=spec.redis_port,
        )


def _start_supervisor(spec: StackSpec, data: DataDir) -> bool:
    log = output.open_log(data.log_file("supervisor"))
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", _SUPERVISOR, "--data-dir", str(data.root)],
            input=spec.to_json().encode(),
            stdout=log,
            stderr=log,
            cwd=data.root,
            env={**os.environ, STACK_VARIABLE: str(data.root)},
            start_new_session=True,
            check=False,
        )
    finally:
        os.close(log)
    if done.returncode not in (0, ALREADY_RUNNING):
        said = output.last_words(data.log_file("supervisor"))
        raise errors.StackPartFailed(f"The supervisor could not be started: {said}. See {data.log_file('supervisor')}.")
    return done.returncode == 0
