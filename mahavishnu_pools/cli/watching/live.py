"""Draws the screen again and again, and does what the keys say."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live as RichLive

from mahavishnu_pools import errors
from mahavishnu_pools.cli.watching.keys import keys
from mahavishnu_pools.cli.watching.model import Monitor
from mahavishnu_pools.cli.watching.screen import screen

if TYPE_CHECKING:
    from mahavishnu_pools.manager import PoolManager

_MOVES = {"up": -1, "k": -1, "down": 1, "j": 1}


class Live:
    """The screen; ``count`` is after how many looks it ends (None: never by itself)."""

    def __init__(self, manager: PoolManager, *, refresh: float, count: int | None) -> None:
        self._manager = manager
        self._refresh = refresh
        self._count = count
        self._monitor = Monitor()
        self._message = ""
        self._wanted: dict[str, int] = {}
        self._console = Console(file=sys.stdout, no_color=bool(os.environ.get("NO_COLOR")))
        self._working: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Draw until ``q`` is pressed or the looks are over; the terminal is left as it was."""
        looks = 0
        with keys() as pressed, RichLive(console=self._console, screen=True, auto_refresh=False) as live:
            try:
                while self._count is None or looks < self._count:
                    await self._look()
                    looks += 1
                    if not await self._until_next(live, pressed):
                        return
            finally:
                for task in self._working:
                    task.cancel()
                await asyncio.gather(*self._working, return_exceptions=True)

    async def _look(self) -> None:
        try:
            self._monitor.seen(await self._manager.list_pools(), at=time.monotonic())
        except errors.Unavailable as exc:
            self._message = exc.message

    async def _until_next(self, live: RichLive, pressed: asyncio.Queue[str]) -> bool:
        """Draw, and once more after each key, until it is time for the next look; False: it is to end."""
        until = time.monotonic() + self._refresh
        while True:
            self._draw(live)
            left = until - time.monotonic()
            if left <= 0:
                return True
            try:
                key = await asyncio.wait_for(pressed.get(), timeout=left)
            except TimeoutError:
                return True
            if key in ("q", "Q"):
                return False
            self._typed(key)

    def _draw(self, live: RichLive) -> None:
        live.update(screen(self._monitor, console=self._console, message=self._message), refresh=True)

    def _typed(self, key: str) -> None:
        if key in _MOVES:
            self._monitor.move(_MOVES[key])
        elif key == "s":
            self._monitor.sort()
        elif key in ("p", "+", "-"):
            self._act(key)

    def _act(self, key: str) -> None:
        pool = self._monitor.selected_pool
        if pool is None:
            return
        name = pool.name
        if key == "p" and pool.status.value in ("paused", "draining"):
            self._begin(self._manager.resume_pool(name), f"Pool {name} goes on.")
        elif key == "p":
            self._begin(self._manager.pause_pool(name), f"Pool {name} is paused.")
        else:
            # A key that is pressed again counts from what was asked for, not from what is there so far.
            target = self._wanted.get(name, pool.workers) + (1 if key == "+" else -1)
            self._wanted[name] = target
            self._begin(self._scale(name, target), f"Pool {name} has {target} workers.")

    async def _scale(self, name: str, target: int) -> None:
        try:
            await self._manager.scale_pool(name, target)
        finally:
            if self._wanted.get(name) == target:
                del self._wanted[name]

    def _begin(self, work: Coroutine[Any, Any, object], done: str) -> None:
        async def act() -> None:
            try:
                await work
            except errors.MahavishnuError as exc:
                self._message = exc.message
            else:
                self._message = done

        self._message = "…"
        task = asyncio.create_task(act(), name="watch action")
        self._working.add(task)
        task.add_done_callback(self._working.discard)
