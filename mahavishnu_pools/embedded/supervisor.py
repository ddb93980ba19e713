"""The supervisor: starts a stack's parts in order, restarts what dies, stops all at the end.

Run as ``python -P -m mahavishnu_pools.embedded.supervisor --data-dir D`` with its orders (``StackSpec``) as JSON on
standard input. It only imports the standard library and small modules of ours, to be there at once. When it is killed,
the parts live on and the next supervisor of the data directory takes them over.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import shutil
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from mahavishnu_pools.embedded import output, stopping, valkey
from mahavishnu_pools.embedded.data_dir import DataDir, try_lock
from mahavishnu_pools.embedded.identity import ProcessId, identify, is_alive
from mahavishnu_pools.embedded.part_run import PartRun
from mahavishnu_pools.embedded.parts import REDIS, Absent, StackSpec
from mahavishnu_pools.embedded.ping import place
from mahavishnu_pools.embedded.ports import give_ports
from mahavishnu_pools.embedded.state import PartState, PartStatus, StackState, StateFile, clear_state, read_state
from mahavishnu_pools.redis_url import mask_url

logger = logging.getLogger(__name__)

#: Exit code that says: this data directory has a living supervisor already.
ALREADY_RUNNING = 75

#: Tells a supervisor to start at once what waits for its next try.
HURRY = signal.SIGHUP

#: How often everything is looked at while a part is starting, and otherwise, in seconds.
BUSY_TICK, CALM_TICK = 0.02, 0.25

#: How often log files are measured, in seconds.
LOG_INTERVAL = 5.0

#: How long a supervisor tries to get the lock, in seconds: others lock it for a moment to see whether one lives.
LOCK_PATIENCE = 0.2

#: How long a stack whose owner was killed drains at most when it is a temporary one, in seconds.
ORPHAN_DRAIN = 5.0


class _Signals:
    """Counts the signals that mean stop and those that mean hurry; every signal ends the waiting."""

    def __init__(self) -> None:
        self.stops = 0
        self.hurries = 0

    def listen(self) -> None:
        self._reader, self._writer = socket.socketpair()
        for end in (self._reader, self._writer):
            end.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._on_stop)
        signal.signal(HURRY, self._on_hurry)
        # A handler that does nothing, not SIG_IGN, which the parts would inherit.
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)

    def wait(self, seconds: float) -> None:
        select.select([self._reader], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            self._reader.recv(4096)

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stops += 1

    def _on_hurry(self, _number: int, _frame: FrameType | None) -> None:
        self.hurries += 1


class _Rotation:
    """Rotates logs every now and then."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._next = 0.0

    def poll(self, now: float) -> None:
        if now < self._next:
            return
        self._next = now + LOG_INTERVAL
        for file in self._files:
            try:
                output.rotate(file)
            except OSError as exc:
                logger.warning("The log %s cannot be rotated: %s", file, exc, extra={"action": "rotate"})


class Supervisor:
    """Keeps one stack alive."""

    def __init__(self, spec: StackSpec) -> None:
        self._spec = spec
        self._data = DataDir(spec.data_dir)
        self._runs = {part.name: PartRun(part, data=self._data) for part in spec.parts}
        self._redis_url = spec.redis_url or ""
        self._self = identify(os.getpid())
        self._settings = spec.settings
        self._began = datetime.now(UTC).isoformat(timespec="seconds")
        self._file = StateFile(self._data)
        self._signals = _Signals()
        self._hurries = 0
        self._rotation = _Rotation([self._data.log_file(name) for name in ("supervisor", *self._runs)])

    def run(self) -> None:
        """Work until told to stop or until the owner is gone, then stop everything."""
        self._signals.listen()
        # Somebody may have asked the last one to stop when that had ended.
        self._data.drain_file.unlink(missing_ok=True)
        earlier = read_state(self._data.root)
        self._take_over(earlier)
        with contextlib.ExitStack() as ports:
            for held in give_ports(self._runs.values(), earlier, file=self._data.ports_file):
                ports.enter_context(held)
            while not self._signals.stops and not self._orphaned():
                self._step(time.monotonic())
                self._file.save(self.state())
                self._rest()
        self._stop()

    # ── living ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _orphaned(self) -> bool:
        return self._spec.owner is not None and not is_alive(self._spec.owner)

    def _take_over(self, earlier: StackState | None) -> None:
        if earlier is None:
            return
        usable = earlier.uses(self._spec.redis_url)
        kept = {part.name for part in earlier.parts if part.name in self._runs} if usable else set()
        leftover = {part.name for part in earlier.parts} - kept
        stopping.end_in_order(stopping.endings_of(earlier, drain_seconds=self._spec.drain_seconds, names=leftover))
        for part in earlier.parts:
            if part.name in kept and part.process is not None and is_alive(part.process):
                logger.info("%s (pid %s) is taken over", part.name, part.process.pid, extra={"action": "adopt"})
                self._runs[part.name].adopt(part.process, earlier=part, now=time.monotonic())
                # What goes on was started with the earlier settings.
                self._settings = earlier.settings
                if part.name == REDIS:
                    self._redis_url = earlier.redis_url or ""

    def _step(self, now: float) -> None:
        hurried, self._hurries = self._signals.hurries > self._hurries, self._signals.hurries
        for run in self._runs.values():
            if hurried:
                run.hurry()
            run.poll(redis_url=self._redis_url, now=now)
            if run.is_due(now):
                waits_for = _waits_for(run, self._runs)
                if waits_for:
                    run.hold(f"waits for {', '.join(waits_for)}")
                elif run.part.name == REDIS:
                    self._start_server(run, now)
                else:
                    run.start(env=self._environment(), now=now)
        self._rotation.poll(now)

    def _start_server(self, run: PartRun, now: float) -> None:
        lock = try_lock(self._data.db_lock_file)
        if lock is None:
            self._adopt_server(run, now)
            return
        others_know_it = any(other.process is not None for other in self._runs.values())
        try:
            address = valkey.write_config(
                self._data.db, port=self._spec.redis_port, keep_port=others_know_it, strict=self._spec.strict
            )
            self._redis_url = address.url
            # The server inherits the lock: it is held exactly as long as that process lives.
            run.start(env=self._environment(), now=now, url=f"redis://{place(address.url)}/0", keep_open=(lock,))
        finally:
            os.close(lock)

    def _adopt_server(self, run: PartRun, now: float) -> None:
        process, address = _server_of(self._data), valkey.configured_address(self._data.db)
        if process is None or address is None:
            run.failed(f"another server process still uses {self._data.db}", now=now)
            return
        self._redis_url = address.url
        run.adopt(process, earlier=None, now=now)

    def _environment(self) -> dict[str, str]:
        told = {run.part.told_as: run.url for run in self._runs.values() if run.part.told_as and run.url}
        return {**os.environ, **self._spec.env, **told, "MAHAVISHNU_REDIS_URL": self._redis_url}

    def _rest(self) -> None:
        busy = any(run.is_starting or run.process is None for run in self._runs.values())
        self._signals.wait(BUSY_TICK if busy else CALM_TICK)

    # ── telling ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def state(self) -> StackState:
        """Return the stack as it is known now."""
        external = self._spec.redis_url is not None
        rows = [run.state() for run in self._runs.values()]
        if external:
            rows.insert(0, PartState(REDIS, PartStatus.EXTERNAL, url=mask_url(self._redis_url)))
        rows += [_row(absent) for absent in self._spec.absent]
        return StackState(
            data_dir=self._data.root,
            redis_url=self._redis_url or None,
            external=external,
            supervisor=self._self,
            parts=tuple(rows),
            started_at=self._began,
            drain_seconds=self._spec.drain_seconds,
            owner=self._spec.owner,
            settings=self._settings,
        )

    # ── ending ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _stop(self) -> None:
        logger.info("The stack is being stopped", extra={"action": "stop"})
        for run in self._runs.values():
            run.stopping()
        self._file.save(self.state())
        endings = stopping.endings_of(self.state(), drain_seconds=self._drain_seconds())
        stopping.end_in_order(endings, hurried=lambda: self._signals.stops > 1)
        stopping.end_leftovers(self._data.root)
        self._data.drain_file.unlink(missing_ok=True)
        clear_state(self._data)
        if self._spec.temporary:
            shutil.rmtree(self._data.root, ignore_errors=True)

    def _drain_seconds(self) -> float:
        if self._spec.temporary and not self._signals.stops:
            return min(self._spec.drain_seconds, ORPHAN_DRAIN)
        try:
            return float(self._data.drain_file.read_text())
        except (OSError, ValueError):
            return self._spec.drain_seconds


def _waits_for(run: PartRun, runs: Mapping[str, PartRun]) -> list[str]:
    first = [name for name, other in runs.items() if other.part.core] if not run.part.core else []
    return [name for name in dict.fromkeys((*run.part.needs, *first)) if name in runs and not runs[name].is_ready]


def _row(absent: Absent) -> PartState:
    status = PartStatus.EXTERNAL if absent.external else PartStatus.SKIPPED
    return PartState(absent.name, status, url=absent.url, reason=absent.reason, core=False)


def _server_of(data: DataDir) -> ProcessId | None:
    """Return the server process that holds the lock of the data, when its pid file names it."""
    import psutil

    try:
        pid = int(valkey.pid_file(data.db).read_text())
        process = identify(pid)
        return process if str(valkey.config_file(data.db)) in " ".join(psutil.Process(pid).cmdline()) else None
    except (OSError, ValueError, psutil.Error):
        return None


def main() -> int:
    """Read the orders, go to the background and supervise; the exit code of the foreground says whether that worked."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    spec = StackSpec.from_json(sys.stdin.read())
    lock = try_lock(DataDir(spec.data_dir).lock_file, patience=LOCK_PATIENCE)
    if lock is None:
        return ALREADY_RUNNING
    if os.fork():
        os._exit(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    Supervisor(spec).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
