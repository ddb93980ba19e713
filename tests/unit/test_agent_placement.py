"""Which pools a node runs, asks for, and leaves."""

from __future__ import annotations

from typing import Any

import pytest

from mahavishnu_pools.schemas.pool import PoolConfig, PoolStatus
from mahavishnu_pools.store.pools import NodeInfo, PoolRecord
from workers.agent.placement import Wish, fits, wish
from workers.agent.start import share_of

NODE = NodeInfo(name="node1", pid=1, started=0.0, region="north", tags=("gpu", "big"), programs=("shell",))


def record(*, status: PoolStatus = PoolStatus.RUNNING, assigned: tuple[str, ...] = (), **config: Any) -> PoolRecord:
    return PoolRecord(
        pool_id="pool_1",
        config=PoolConfig(name="alpha", **config),
        status=status,
        workers=1,
        created=0.0,
        reason=None,
        assigned=assigned,
        queued=0,
        running=0,
        groups=(),
        counts={},
    )


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, True),
        ({"nodes": ("node1",)}, True),
        ({"nodes": ("gpu", "other")}, True),
        ({"nodes": ("other",)}, False),
        ({"nodes": ()}, False),
        ({"region": "north"}, True),
        ({"region": "south"}, False),
        ({"worker_type": "shell"}, True),
        ({"worker_type": "terminal-qwen"}, False),
    ],
)
def test_a_pool_fits_by_name_or_tag_region_and_program(config: dict[str, Any], expected: bool) -> None:
    assert fits(PoolConfig(name="alpha", **config), NODE) is expected


def test_a_pool_of_containers_goes_nowhere_while_the_engine_is_silent_and_stays_where_it_is() -> None:
    silent = NODE.model_copy(update={"unusable": {"container": "docker is silent"}})

    assert not fits(PoolConfig(name="alpha", worker_type="container"), silent)
    assert wish(record(worker_type="container"), silent, living=("node1",)) is Wish.LEAVE
    assert wish(record(worker_type="container", assigned=("node1",)), silent, living=("node1",)) is Wish.RUN


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        (record(assigned=("node1",)), Wish.RUN),
        (record(assigned=("node1",), status=PoolStatus.PAUSED), Wish.RUN),
        (record(assigned=("node1",), status=PoolStatus.STOPPED), Wish.REMOVE),
        (record(assigned=("node1",), status=PoolStatus.FAILED), Wish.LEAVE),
        (record(assigned=("node1",), nodes=("other",)), Wish.GIVE_UP),
        (record(nodes=("other",)), Wish.LEAVE),
        (record(), Wish.ASK),
        (record(assigned=("node2",)), Wish.LEAVE),
        (record(assigned=("node2",), replicas=2), Wish.ASK),
        (record(assigned=("lost",)), Wish.ASK),
        (record(assigned=("node1",), pool_type="elsewhere"), Wish.LEAVE),
    ],
)
def test_what_a_node_does_about_a_pool(pool: PoolRecord, expected: Wish) -> None:
    assert wish(pool, NODE, living={"node1", "node2"}) is expected


@pytest.mark.parametrize(("workers", "replicas", "share"), [(4, 1, 4), (4, 2, 2), (5, 2, 3), (1, 3, 1), (0, 2, 0)])
def test_the_groups_of_a_pool_together_never_have_fewer_workers_than_asked_for(
    workers: int, replicas: int, share: int
) -> None:
    assert share_of(workers, replicas=replicas) == share
