"""Which pools a node may run. Pure."""

from __future__ import annotations

import enum
from collections.abc import Collection

from mahavishnu_pools.pools.factory import on_nodes
from mahavishnu_pools.pools.placement import misfit
from mahavishnu_pools.schemas.pool import PoolConfig, PoolStatus
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
    """Tell whether a pool may run on a node that lives."""
    return misfit(config, node) is None


def wish(record: PoolRecord, node: NodeInfo, *, living: Collection[str]) -> Wish:
    """Return what the node is to do about a pool; ``living`` are the names of nodes that live."""
    if not on_nodes(record.config.pool_type) or record.status is PoolStatus.FAILED:
        return Wish.LEAVE
    if record.status is PoolStatus.STOPPED:
        return Wish.REMOVE
    if record.config.is_deployment:
        # All its Pods run it, however many there are: nobody assigns them.
        return Wish.RUN if fits(record.config, node) else Wish.LEAVE
    mine = node.name in record.assigned
    # A container engine that falls silent may answer soon: what was given to this node stays, with what runs there.
    if not fits(record.config, _as_if_all_answered(node) if mine else node):
        return Wish.GIVE_UP if mine else Wish.LEAVE
    if mine:
        return Wish.RUN
    others = sum(name in living for name in record.assigned)
    return Wish.ASK if others < record.config.replicas else Wish.LEAVE


def _as_if_all_answered(node: NodeInfo) -> NodeInfo:
    return node.model_copy(update={"programs": (*node.programs, *node.unusable), "unusable": {}})
