"""The faults: each is done and undone by one call, and returns the time from which everything may work again."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable

import psutil

from tests.chaos.site import ChaosSite, until_answered
from tests.waiting import eventually

#: How long a server that was killed may take to come back with its data, in seconds.
SERVER_SECONDS = 20.0

Fault = Callable[[], float]


class Faults:
    """All kinds of faults for one site; ``rng`` chooses victims and durations."""

    def __init__(self, site: ChaosSite, rng: random.Random) -> None:
        self._site = site
        self._rng = rng

    def kinds(self) -> dict[str, Fault]:
        """Return the faults by name."""
        return {
            "kill a worker group": lambda: self._kill(self._site.groups()),
            "kill the controller": lambda: self._kill(self._site.controllers()),
            "kill the agent": self.kill_agent,
            "kill a task's program": lambda: self._kill(self._site.programs()),
            "kill the server": self.kill_server,
            "freeze a worker group": lambda: self._freeze(self._site.groups()),
            "freeze the controller": lambda: self._freeze(self._site.controllers()),
            "freeze the server": self.freeze_server,
            "cut all connections": self.cut,
            "swallow all bytes": self.blackhole,
            "full memory": self.full_memory,
        }

    def kill_agent(self) -> float:
        """Kill the agent's first process; start another one as a supervisor does."""
        assert self._site.agent is not None
        self._site.agent.kill()
        self._site.agent.wait(timeout=10)
        self._site.start_agent()
        return time.time()

    def kill_server(self) -> float:
        """Kill the server and start it again on its data."""
        self._site.server.kill()
        self._pause(0.1, 1.5)
        self._site.server.start()
        return until_answered(self._site, within=SERVER_SECONDS)

    def freeze_server(self) -> float:
        """Stop the server for a while; its connections stay open."""
        process = psutil.Process(self._site.server.pid)
        process.suspend()
        self._pause(0.5, 4.0)
        process.resume()
        return until_answered(self._site, within=SERVER_SECONDS)

    def cut(self) -> float:
        """End every connection."""
        self._site.line.cut()
        return time.time()

    def blackhole(self) -> float:
        """Pass nothing on for a while, then everything."""
        self._site.line.block()
        self._pause(0.5, 4.0)
        self._site.line.unblock()
        return time.time()

    def full_memory(self) -> float:
        """Have less memory than is used for a while."""
        self._site.direct.redis.config_set("maxmemory", 1)
        self._pause(0.5, 2.0)
        self._site.direct.redis.config_set("maxmemory", 0)
        return time.time()

    def _kill(self, victims: list[psutil.Process]) -> float:
        if victims:
            victim = self._rng.choice(sorted(victims, key=lambda process: process.pid))
            try:
                victim.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                return time.time()
            eventually(lambda: not _alive(victim))
        return time.time()

    def _freeze(self, victims: list[psutil.Process]) -> float:
        if victims:
            victim = self._rng.choice(sorted(victims, key=lambda process: process.pid))
            try:
                victim.suspend()
                self._pause(0.5, 6.0)
                victim.resume()
            except psutil.NoSuchProcess:
                return time.time()
        return time.time()

    def _pause(self, least: float, most: float) -> None:
        threading.Event().wait(self._rng.uniform(least, most))


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
