"""The faults: each is done and undone by one call, and returns when tasks may be missed: from when, until when."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable

import psutil

from tests.chaos.history import Window
from tests.chaos.site import ChaosSite, until_answered
from tests.waiting import eventually

#: How long a server that was killed may take to come back with its data, in seconds.
SERVER_SECONDS = 20.0

Fault = Callable[[], Window]


class Faults:
    """All kinds of faults for one site; ``rng`` chooses victims and durations.

    Where the server was out, a window begins when it was back: before that nothing could start.
    """

    def __init__(self, site: ChaosSite, rng: random.Random) -> None:
        self._site = site
        self._rng = rng

    def kinds(self) -> dict[str, Fault]:
        """Return the faults by name, those first that a short run must have."""
        site = self._site
        return {
            "kill a worker group": lambda: self._kill(site.groups()),
            "kill an agent": self.kill_agent,
            "kill the server": lambda: self.kill_server(),
            "freeze a worker group": lambda: self._freeze(site.groups()),
            "swallow all bytes": self.blackhole,
            "kill a worker group and the server": lambda: self.kill_server(site.groups()),
            "kill a controller": lambda: self._kill(site.controllers()),
            "kill a task's program": lambda: self._kill(site.programs()),
            "freeze a controller": lambda: self._freeze(site.controllers()),
            "freeze an agent": lambda: self._freeze([node.agent() for node in site.nodes]),
            "freeze the server": self.freeze_server,
            "cut all connections": self.cut,
            "full memory": self.full_memory,
            "kill a controller and the server": lambda: self.kill_server(site.controllers()),
        }

    def plan(self, count: int) -> list[str]:
        """Return the names of so many faults in random order, each kind as often as the others."""
        known = list(self.kinds())
        order = [known[number % len(known)] for number in range(count)]
        self._rng.shuffle(order)
        return order

    def kill_agent(self) -> Window:
        """Kill an agent's first process; start another one as a supervisor does."""
        node = self._rng.choice(self._site.nodes)
        began = time.time()
        node.kill()
        node.start()
        return Window(began, time.time())

    def kill_server(self, victims: list[psutil.Process] | None = None) -> Window:
        """Kill the server, and one of the victims while it is away; start it again on its data."""
        self._site.server.kill()
        self._kill(victims or [])
        self._pause(0.1, 1.5)
        self._site.server.start()
        return self._since_answered()

    def freeze_server(self) -> Window:
        """Stop the server for a while; its connections stay open."""
        process = psutil.Process(self._site.server.pid)
        process.suspend()
        self._pause(0.5, 4.0)
        process.resume()
        return self._since_answered()

    def cut(self) -> Window:
        """End every connection."""
        self._site.line.cut()
        return self._since_answered()

    def blackhole(self) -> Window:
        """Pass nothing on for a while, then everything."""
        self._site.line.block()
        self._pause(0.5, 4.0)
        self._site.line.unblock()
        return self._since_answered()

    def full_memory(self) -> Window:
        """Have less memory than is used for a while."""
        self._site.direct.redis.config_set("maxmemory", 1)
        self._pause(0.5, 2.0)
        self._site.direct.redis.config_set("maxmemory", 0)
        return self._since_answered()

    def _since_answered(self) -> Window:
        back = until_answered(self._site, within=SERVER_SECONDS)
        return Window(back, back)

    def _kill(self, victims: list[psutil.Process]) -> Window:
        began = time.time()
        if victims:
            victim = self._rng.choice(sorted(victims, key=lambda process: process.pid))
            try:
                victim.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                return Window(began, began)
            eventually(lambda: not _alive(victim))
        return Window(began, time.time())

    def _freeze(self, victims: list[psutil.Process]) -> Window:
        began = time.time()
        if victims:
            victim = self._rng.choice(sorted(victims, key=lambda process: process.pid))
            try:
                victim.suspend()
                self._pause(0.5, 6.0)
                victim.resume()
            except psutil.NoSuchProcess:
                return Window(began, time.time())
        return Window(began, time.time())

    def _pause(self, least: float, most: float) -> None:
        threading.Event().wait(self._rng.uniform(least, most))


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
