"""One part as its supervisor sees it: start it, see it ready, see it die, start it again later each time."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urljoin

from mahavishnu_pools.embedded import output
from mahavishnu_pools.embedded.data_dir import DataDir
from mahavishnu_pools.embedded.identity import ProcessId, identify, is_alive
from mahavishnu_pools.embedded.parts import PORT, Part, Ready
from mahavishnu_pools.embedded.ping import ping
from mahavishnu_pools.embedded.state import PartState, PartStatus
from mahavishnu_pools.embedded.web_ping import why_silent

#: Waiting time before the first restart; it doubles with every further one, in seconds.
FIRST_DELAY = 0.2

#: The longest waiting time before a restart, in seconds.
LONGEST_DELAY = 5.0

#: A part that ran this long is taken for stable: its next restart is a first one again. Seconds.
STABLE_SECONDS = 10.0

#: A part that has not answered so long after its start does not answer; before, it is starting. Seconds.
START_SECONDS = 30.0

#: A part that says nothing is ready when it lived this long, in seconds.
ALIVE_SECONDS = 0.3


class PartRun:
    """The process of one part, over all its restarts."""

    def __init__(self, part: Part, *, data: DataDir) -> None:
        self.part = part
        self.process: ProcessId | None = None
        self._data = data
        self._log, self._ready = data.log_file(part.name), data.ready_file(part.name)
        self._child: subprocess.Popen[bytes] | None = None
        self._status = PartStatus.WAITING
        self._reason: str | None = None
        self._last_error: str | None = None
        self._url = None if part.port is not None else part.url
        self._argv = part.argv
        self._restarts = 0
        self._failures = 0
        self._due = 0.0
        self._started = 0.0

    @property
    def is_ready(self) -> bool:
        """Tell whether the part runs and has shown that it is ready."""
        return self._status is PartStatus.RUNNING

    @property
    def is_starting(self) -> bool:
        """Tell whether the part is on its way and should be looked at often."""
        return self._status is PartStatus.STARTING

    @property
    def url(self) -> str | None:
        """Where the part is reached; None: nowhere, or that is not known yet."""
        return self._url

    def listens_on(self, port: int) -> None:
        """Give the part its port, before its first start."""
        self._argv = tuple(word.replace(PORT, str(port)) for word in self.part.argv)
        self._url = self.part.url.replace(PORT, str(port)) if self.part.url else None

    def state(self) -> PartState:
        """Return what is known now."""
        return PartState(
            name=self.part.name,
            status=self._status,
            process=self.process,
            url=self._url,
            restarts=self._restarts,
            reason=self._reason,
            last_error=self._last_error,
            stop_order=self.part.stop_order,
            stop_seconds=self.part.stop_seconds,
            drains=self.part.drains,
            failures=self._failures,
            core=self.part.core,
            health_url=_health_url(self.part, self._url),
        )

    def is_due(self, now: float) -> bool:
        """Tell whether the part should be started now, as far as it is concerned itself."""
        return self.process is None and now >= self._due

    def hurry(self) -> None:
        """Be due now, whatever happened before: somebody asked for it."""
        if self.process is None:
            self._due, self._failures = 0.0, 0

    def hold(self, reason: str) -> None:
        """Note why the part is not started although it is due."""
        self._reason = reason

    def stopping(self) -> None:
        """Note that the part is being stopped."""
        self._status = PartStatus.STOPPING

    def adopt(self, process: ProcessId, *, earlier: PartState | None, now: float) -> None:
        """Take over a living process that another supervisor started."""
        self.process, self._child, self._started = process, None, now
        self._status, self._reason = PartStatus.STARTING, "was taken over and is being looked at"
        if earlier is not None:
            self._restarts, self._last_error, self._url = earlier.restarts, earlier.last_error, earlier.url

    def start(
        self, *, env: Mapping[str, str], now: float, url: str | None = None, keep_open: tuple[int, ...] = ()
    ) -> None:
        """Start the process; ``keep_open`` are descriptors it inherits."""
        self._ready.unlink(missing_ok=True)
        self._started, self._url = now, url or self._url
        try:
            log = output.open_log(self._log)
            try:
                self._child = subprocess.Popen(
                    self._argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self._data.root,
                    env={**env, **self.part.env},
                    start_new_session=True,
                    pass_fds=keep_open,
                )
            finally:
                os.close(log)
        except OSError as exc:
            self.failed(f"could not be started: {exc}", now=now)
            return
        self._status, self._reason = PartStatus.STARTING, "has not reported ready yet"
        self.process = identify(self._child.pid)
        if self.process is None:
            self.failed(_how_it_ended(self._child, self._log), now=now)

    def poll(self, *, redis_url: str, now: float) -> None:
        """Look after the process: has it ended, is it ready."""
        if self.process is None:
            return
        if not is_alive(self.process):
            self.failed(_how_it_ended(self._child, self._log), now=now)
        elif self._status in (PartStatus.STARTING, PartStatus.UNREACHABLE):
            self._reason = self._not_ready(redis_url, now)
            if self._reason is None:
                self._status = PartStatus.RUNNING
            elif self.part.ready is Ready.HTTP and self._is_late(now):
                self._status = PartStatus.UNREACHABLE
        elif self._failures and now - self._started > STABLE_SECONDS:
            self._failures = 0

    def failed(self, why: str, *, now: float) -> None:
        """Note that the process is gone or could not be started, and when to try again."""
        self.process = self._child = None
        self._status, self._reason, self._last_error = PartStatus.RESTARTING, why, why
        self._restarts += 1
        self._due = now + min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(self._failures, 10))
        self._failures += 1

    def _not_ready(self, redis_url: str, now: float) -> str | None:
        if self.part.ready is Ready.PING:
            answer = ping(redis_url, timeout=0.25)
            return answer.reason if not answer.silent or self._is_late(now) else self._reason or answer.reason
        if self.part.ready is Ready.FILE:
            return None if _reported_ready(self._ready) else "has not reported ready yet"
        health_url = _health_url(self.part, self._url)
        if health_url is not None:
            silence = why_silent(health_url, timeout=0.25)
            return silence if silence is None or self._is_late(now) else self._reason or silence
        # After a failure it must live longer each time: a part that ends again and again is never shown as running.
        proof = min(STABLE_SECONDS, ALIVE_SECONDS * 4 ** min(self._failures, 10))
        return None if now - self._started >= proof else f"was just started; before: {self._last_error or 'nothing'}"

    def _is_late(self, now: float) -> bool:
        return now - self._started >= START_SECONDS


def _health_url(part: Part, url: str | None) -> str | None:
    return None if part.ready is not Ready.HTTP or url is None else urljoin(url, part.health)


def _reported_ready(file: Path) -> bool:
    # The file may name any process of the part; it was removed before the start, so it cannot be an old one.
    try:
        pid = int(file.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return False
    return identify(pid) is not None


def _how_it_ended(child: subprocess.Popen[bytes] | None, log: Path) -> str:
    code = child.wait() if child is not None else None
    if code is None:
        how = "ended"
    elif code < 0:
        how = f"was ended by {signal.Signals(-code).name}"
    else:
        how = f"ended with exit code {code}"
    words = output.last_words(log) if code is None or code > 0 else ""
    return f"{how}; it last said: {words}" if words else how
