"""One command's connection to the pools: opened when it is used, closed however the command ends."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol, TypeVar

from mahavishnu_pools import errors, names, tracing
from mahavishnu_pools.cli.option_names import running_command, with_options
from mahavishnu_pools.cli.which_stack import not_running, settings_in_force

if TYPE_CHECKING:
    from mahavishnu_pools.manager import PoolManager
    from mahavishnu_pools.schemas.pool import PoolInfo

T = TypeVar("T")

_POOL_ID = re.compile(names.POOL_ID_PREFIX + r"[0-9a-f]{12}\b")


def open_manager() -> PoolManager:
    """Return a manager for the configured Redis or the running local stack; a command never starts a stack.

    Raises:
        PoolsDisabled: the settings switch pools off.
        StackNotRunning: there is neither.
    """
    settings = settings_in_force()
    if not settings.pools_enabled:
        raise errors.PoolsDisabled
    from mahavishnu_pools.bootstrap import find_redis_url
    from mahavishnu_pools.manager import PoolManager

    tracing.set_up("mahavishnu")
    tracing.continue_from_environment()
    url = find_redis_url(settings)
    if url is None:
        raise not_running(settings)
    return PoolManager(settings=settings, redis_url=url)


def submitter_directory() -> str | None:
    """Return where the user stands, if the tasks run on this machine: on the local stack, not on a configured Redis."""
    if settings_in_force().redis_url is not None:
        return None
    try:
        return os.getcwd()
    except FileNotFoundError:  # it was removed meanwhile
        return None


class PoolReader(Protocol):
    """Reads the pools without a manager; see ``pool_reading``."""

    def __call__(self, *, active_only: bool, pool_type: str | None) -> list[PoolInfo]:
        """Return the pools as ``PoolManager.list_pools`` does."""
        ...


class Session:
    """What a command reaches pools with. Ctrl-C cancels its coroutine and raises KeyboardInterrupt.

    ``reader`` is a shorter way to the list of pools (None: ask a manager). ``directory`` gives the directory of tasks
    that name none; where it gives None, their worker finds one.
    """

    def __init__(
        self,
        opener: Callable[[], PoolManager] = open_manager,
        *,
        reader: PoolReader | None = None,
        directory: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._open = opener
        self._reader = reader
        self.directory = directory

    def run(self, action: Callable[[PoolManager], Awaitable[T]]) -> T:
        """Return what ``action`` returns for a fresh manager, which is closed afterwards."""
        import asyncio  # takes its time, which commands that run nothing are spared

        manager = self._open()
        with options_named():
            return asyncio.run(_closing(manager, action))

    def list_pools(self, *, active_only: bool = False, pool_type: str | None = None) -> list[PoolInfo]:
        """Return all pools in the order of their creation, or the active ones, or those of one type."""
        if self._reader is not None:
            return self._reader(active_only=active_only, pool_type=pool_type)
        return self.run(lambda manager: manager.list_pools(active_only=active_only, pool_type=pool_type))


@contextmanager
def options_named() -> Iterator[None]:
    """Have errors of what is done within name the options of the running command instead of arguments."""
    try:
        yield
    except (errors.InvalidInput, errors.NotFound) as exc:
        told = with_options(exc, running_command())
        if told is exc:
            raise
        raise told from exc


async def _closing(manager: PoolManager, action: Callable[[PoolManager], Awaitable[T]]) -> T:
    try:
        return await action(manager)
    except errors.MahavishnuError as exc:
        await _name_pools(exc, manager)
        raise
    finally:
        await manager.close()


async def _name_pools(exc: errors.MahavishnuError, manager: PoolManager) -> None:
    """Put names where an error's message has ids of pools; the data beside it keeps the ids."""
    if not _POOL_ID.search(exc.message):
        return
    with suppress(errors.MahavishnuError):  # the pools cannot be read: the ids must do
        named = {pool.pool_id: pool.name for pool in await manager.list_pools()}
        exc.message = _POOL_ID.sub(lambda found: named.get(found.group(), found.group()), exc.message)
        exc.args = (exc.message,)
