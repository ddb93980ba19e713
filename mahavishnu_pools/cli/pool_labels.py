"""Puts the names of pools where a document for people would show their ids; its JSON data keeps the ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from mahavishnu_pools import errors
from mahavishnu_pools.cli.formats.interface import Block, Cell, Document, Fields, Table

if TYPE_CHECKING:
    from mahavishnu_pools.cli.output import Output
    from mahavishnu_pools.manager import PoolManager


async def pool_names_for(manager: PoolManager, output: Output) -> dict[str, str]:
    """Return the names of pools by id; nothing for programs, or when they cannot be read."""
    if output.for_people:
        with suppress(errors.MahavishnuError):  # the ids must do
            return {pool.pool_id: pool.name for pool in await manager.list_pools()}
    return {}


async def names_of(manager: PoolManager, pool_ids: Iterable[str | None]) -> dict[str, str]:
    """Return the names of these pools by id, for programs too; of pools that are gone, or cannot be read, none."""
    wanted = {one for one in pool_ids if one}
    if not wanted:
        return {}
    with suppress(errors.MahavishnuError):
        pools = [await manager.pool_info(*wanted)] if len(wanted) == 1 else await manager.list_pools()
        return {pool.pool_id: pool.name for pool in pools if pool.pool_id in wanted}
    return {}


def with_pool_names(document: Document, names: Mapping[str, str]) -> Document:
    """Return the document with names in its tables, and names beside the ids in its fields."""
    return replace(document, blocks=tuple(_block(block, names) for block in document.blocks))


def _block(block: Block, names: Mapping[str, str]) -> Block:
    if isinstance(block, Table):
        return replace(block, rows=tuple(tuple(_name(cell, names) for cell in row) for row in block.rows))
    if isinstance(block, Fields):
        return replace(block, rows=tuple((label, _both(cell, names)) for label, cell in block.rows))
    return block


def _name(cell: Cell, names: Mapping[str, str]) -> Cell:
    return names.get(cell, cell) if isinstance(cell, str) else cell


def _both(cell: Cell, names: Mapping[str, str]) -> Cell:
    return f"{names[cell]} ({cell})" if isinstance(cell, str) and cell in names else cell
