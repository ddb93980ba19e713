"""The pool types that exist: the built-in ones, and those of plug-ins."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType

from mahavishnu_pools import errors
from mahavishnu_pools.pools.interface import PoolType
from mahavishnu_pools.pools.kubernetes import KUBERNETES
from mahavishnu_pools.pools.mahavishnu import MAHAVISHNU
from mahavishnu_pools.pools.remote import REMOTE
from mahavishnu_pools.pools.session_buddy import SESSION_BUDDY

logger = logging.getLogger(__name__)

#: Entry points of this group name PoolType objects.
ENTRY_POINT_GROUP = "mahavishnu_pools.pool_types"

BUILT_IN: Mapping[str, PoolType] = MappingProxyType(
    {one.name: one for one in (MAHAVISHNU, SESSION_BUDDY, KUBERNETES, REMOTE)}
)


def pool_type(name: str) -> PoolType:
    """Return the pool type of this name.

    Raises:
        UnknownChoice: there is none; the message lists those that exist.
        InvalidConfig: the plug-in of this name is no pool type.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    plugins = _plugins()
    if name not in plugins:
        raise errors.UnknownChoice.of("pool type", name, [*BUILT_IN, *plugins])
    return plugins[name]


@cache
def on_nodes(name: str) -> bool:
    """Tell whether node agents run the pools of a type; False: others do, or it is not installed here."""
    if name in BUILT_IN:
        return BUILT_IN[name].on_nodes
    try:
        return pool_type(name).on_nodes
    except errors.UnknownChoice:
        return False
    # The border to installed plug-ins: a broken one must not end an agent.
    except Exception:
        logger.exception("a plug-in cannot be loaded", extra={"action": "load_pool_type", "pool_type": name})
        return False


@cache
def _plugins() -> Mapping[str, PoolType]:
    found: dict[str, PoolType] = {}
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        loaded = entry.load()
        if not isinstance(loaded, PoolType):
            raise errors.InvalidConfig(
                f"The entry point {entry.name!r} of {ENTRY_POINT_GROUP} names {entry.value}, which is no PoolType. "
                "Correct or remove the package that brings it.",
                entry_point=entry.name,
            )
        found[loaded.name] = loaded
    return MappingProxyType(found)
