"""A stack of one's own for one process: in a temporary directory, gone with its owner however that ends."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from mahavishnu_pools import errors
from mahavishnu_pools.embedded import stack
from mahavishnu_pools.embedded.addresses import on_stack
from mahavishnu_pools.embedded.identity import identify, is_alive
from mahavishnu_pools.embedded.parts import PAGELESS, Part
from mahavishnu_pools.embedded.planning import plan
from mahavishnu_pools.embedded.state import read_state
from mahavishnu_pools.settings import Settings

logger = logging.getLogger(__name__)

#: The temporary directory of a private stack begins with this.
DIRECTORY_PREFIX = "mahavishnu-private-"


class PrivateStack:
    """A stack that lives as long as an ``async with`` block, beside any other one.

    Its supervisor also watches this process and stops everything when it is gone.
    """

    def __init__(self, settings: Settings, *, parts: Sequence[Part] = PAGELESS) -> None:
        self._settings = settings
        self._parts = parts
        self._data_dir: Path | None = None
        self._redis_url: str | None = None

    @property
    def data_dir(self) -> Path:
        """The temporary directory, until the block ends.

        Raises:
            StackNotRunning: the stack was not started or is stopped.
        """
        if self._data_dir is None:
            raise errors.StackNotRunning
        return self._data_dir

    @property
    def redis_url(self) -> str:
        """The URL of the private server, with its password.

        Raises:
            StackNotRunning: the stack was not started or is stopped.
        """
        if self._redis_url is None:
            raise errors.StackNotRunning
        return self._redis_url

    def on_stack(self, settings: Settings) -> Settings:
        """Return settings with the URLs of this stack's servers where none are configured.

        Raises:
            StackNotRunning: the stack was not started or is stopped.
        """
        return on_stack(settings, self.data_dir, redis_url=self.redis_url)

    async def __aenter__(self) -> PrivateStack:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start the stack and wait until it is ready; cancelled meanwhile, it is stopped again before that is raised.

        Raises:
            StackPartFailed: a part does not come up; nothing is left behind.
        """
        if self._redis_url is not None:
            return
        try:
            await _to_its_end(self._start)
        except asyncio.CancelledError:
            await _to_its_end(self._stop)
            raise

    async def stop(self) -> None:
        """Stop the stack and remove its directory; does nothing when it is stopped already."""
        await _to_its_end(self._stop)

    def _start(self) -> None:
        clear_abandoned(Path(tempfile.gettempdir()))
        self._data_dir = Path(tempfile.mkdtemp(prefix=DIRECTORY_PREFIX))
        settings = self._settings.model_copy(update={"data_dir": self._data_dir, "redis_url": None, "redis_port": 0})
        try:
            spec = plan(settings, parts=self._parts)
            state = stack.launch(replace(spec, owner=identify(os.getpid()), temporary=True))
        except BaseException:
            self._stop()
            raise
        self._redis_url = state.redis_url

    def _stop(self) -> None:
        directory, self._data_dir, self._redis_url = self._data_dir, None, None
        if directory is None:
            return
        stack.stop(directory, drain_seconds=self._settings.drain_timeout)
        shutil.rmtree(directory, ignore_errors=True)


async def _to_its_end(work: Callable[[], None]) -> None:
    """Do something in a thread and wait for its end, also when cancelled meanwhile; that is raised afterwards."""
    future = asyncio.get_running_loop().run_in_executor(None, work)
    cancelled = False
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            cancelled = True
    error = future.exception()
    if cancelled:
        raise asyncio.CancelledError from error
    if error is not None:
        raise error


def clear_abandoned(directory: Path) -> int:
    """Stop private stacks whose owner and supervisor were both killed, remove them, and return how many that were."""
    return sum(_cleared(found) for found in directory.glob(f"{DIRECTORY_PREFIX}*"))


def _cleared(found: Path) -> bool:
    try:
        if found.is_symlink() or found.stat().st_uid != os.getuid():
            return False
        state = read_state(found)
        if state is None or is_alive(state.owner) or is_alive(state.supervisor):
            return False
        stack.stop(found, drain_seconds=0)
    except FileNotFoundError:
        return False  # it ended, or somebody else cleared it, while we looked
    except errors.StackPartFailed as exc:
        logger.warning("An abandoned stack cannot be cleared: %s", exc, extra={"action": "clear_abandoned"})
        return False
    shutil.rmtree(found, ignore_errors=True)
    return True
