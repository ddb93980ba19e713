"""Looks at what pools have outside of Redis and the nodes, when somebody asks how they are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mahavishnu_pools import errors
from mahavishnu_pools.pools.factory import pool_type
from mahavishnu_pools.pools.interface import Outside, Trouble
from mahavishnu_pools.schemas.pool import PoolInfo, PoolStatus

if TYPE_CHECKING:
    from mahavishnu_pools.settings import Settings
    from mahavishnu_pools.store.pools import PoolRecord

#: Seconds within which all of them are to have answered.
SECONDS = 15.0


async def seen_from_outside(records: Iterable[PoolRecord], settings: Settings) -> list[PoolInfo]:
    """Return what is seen of pools, with the troubles of their outsides as reasons.

    Trouble that will not pass makes a running pool degraded; other trouble is only told.
    """
    return list(await asyncio.gather(*(_look(record, settings) for record in records)))


async def _look(record: PoolRecord, settings: Settings) -> PoolInfo:
    info = record.info()
    try:
        outside = pool_type(record.config.pool_type).outside(record.config, settings)
    except errors.UnknownChoice:
        return info  # the plug-in is missing here
    trouble = None if outside is None else await _trouble(outside, record)
    if trouble is None:
        return info
    changes: dict[str, object] = {"reason": " ".join(part for part in (info.reason, trouble.text) if part)}
    if trouble.lasting and info.status is PoolStatus.RUNNING:
        changes["status"] = PoolStatus.DEGRADED
    return info.model_copy(update=changes)


async def _trouble(outside: Outside, record: PoolRecord) -> Trouble | None:
    try:
        async with asyncio.timeout(SECONDS):
            return await outside.trouble(record.pool_id, record.config)
    except TimeoutError:
        return Trouble(f"Where its workers are does not answer within {SECONDS:g} s.")
