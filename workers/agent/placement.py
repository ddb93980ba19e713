"""Which pools a node may run. Pure."""

from __future__ import annotations

import enum
from collections.abc import Collection

from mahavishnu_pools.schemas.pool import GROUP_TYPES, PoolConfig, PoolStatus
from mahavishnu_pools.store.pools import NodeInfo, PoolRecord


class Wish(enum.Enum):
    """What a node does about a pool."""

    #: It runs the pool's group.
    RUN = enum.auto()
    #: It asks whether it may.
    ASK = enum.auto()
    #: It has no group of it.
    LEAVE = enum.auto()
    #: It has no group, and gives up that the pool was assigned to it.
    GIVE_UP = enum.auto()
    #: It has no group and takes part in removing the pool.
    REMOVE = enum.auto()


def fits(config: PoolConfig, node: NodeInfo) -> bool:
    """Tell whether a pool may run on a node: its name or a tag is listed, the region is right, the program is there."""
    listed = config.nodes is None or bool({node.name, *node.tags} & set(config.nodes))
    near = config.region in ("default", node.region)
    able = config.worker_type is None or config.worker_type in node.programs
    return listed and near and able


def wish(record: PoolRecord, node: NodeInfo, *, living: Collection[str]) -> Wish:
    """Return what the node is to do about a pool; ``living`` are the names of nodes that live."""
    if record.config.pool_type not in GROUP_TYPES or record.status is PoolStatus.FAILED:
        return Wish.LEAVE
    if record.status is PoolStatus.STOPPED:
        return Wish.REMOVE
    mine = node.name in record.assigned
    if not fits(record.config, node):
        return Wish.GIVE_UP if mine else Wish.LEAVE
    if mine:
        return Wish.RUN
    others = sum(name in living for name in record.assigned)
    return Wish.ASK if others < record.config.replicas else Wish.LEAVE
