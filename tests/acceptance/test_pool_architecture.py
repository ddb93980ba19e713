"""The Python examples of POOL_ARCHITECTURE that need only local pools, in the order of its sections."""

from __future__ import annotations

import asyncio

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.mcp.protocols.message_bus import Message, MessageBus, MessageType
from mahavishnu_pools.pools import PoolConfig, PoolManager, PoolSelector


async def spawn_local(pool_mgr: PoolManager, count: int = 3) -> list[str]:
    configs = [PoolConfig(name=f"pool{number}", pool_type="mahavishnu") for number in range(count)]
    return [await pool_mgr.spawn_pool("mahavishnu", config) for config in configs]


async def test_pool_types_mahavishnu_pool(pool_mgr: PoolManager) -> None:
    config = PoolConfig(
        name="local-pool",
        pool_type="mahavishnu",
        min_workers=2,
        max_workers=5,
        worker_type="terminal-qwen",
    )

    pool_id = await pool_mgr.spawn_pool("mahavishnu", config)
    result = await pool_mgr.execute_on_pool(pool_id, {"prompt": "Write code"})

    assert (result["status"], result["output"], result["pool_id"]) == ("completed", "Done: Write code", pool_id)


async def test_pool_types_mahavishnu_pool_with_worker_type_shell(pool_mgr: PoolManager) -> None:
    config = PoolConfig(name="local-pool", pool_type="mahavishnu", worker_type="shell")

    pool_id = await pool_mgr.spawn_pool("mahavishnu", config)
    result = await pool_mgr.execute_on_pool(pool_id, {"prompt": "echo $((6 * 7))"})

    assert (result["status"], result["output"], result["exit_code"]) == ("completed", "42\n", 0)


async def test_pool_routing_strategies_round_robin(pool_mgr: PoolManager) -> None:
    pools = await spawn_local(pool_mgr)

    results = [
        await pool_mgr.route_task(
            {"prompt": "Task"},
            pool_selector=PoolSelector.ROUND_ROBIN,
        )
        for _ in range(6)
    ]
    visited = [result["pool_id"] for result in results]

    assert sorted(visited[:3]) == sorted(pools)
    assert visited[3:] == visited[:3]  # pool0 → pool1 → pool2 → pool0 → ...


async def test_pool_routing_strategies_least_loaded(pool_mgr: PoolManager) -> None:
    busy, idle = await spawn_local(pool_mgr, 2)
    held = await pool_mgr.submit({"prompt": "wait for go"}, pool=busy)

    result = await pool_mgr.route_task(
        {"prompt": "Task"},
        pool_selector=PoolSelector.LEAST_LOADED,
    )
    await pool_mgr.cancel(held.task_id)

    assert (result["status"], result["pool_id"]) == ("completed", idle)


async def test_pool_routing_strategies_random(pool_mgr: PoolManager) -> None:
    pools = await spawn_local(pool_mgr)

    result = await pool_mgr.route_task(
        {"prompt": "Task"},
        pool_selector=PoolSelector.RANDOM,
    )

    assert result["status"] == "completed"
    assert result["pool_id"] in pools


async def test_pool_routing_strategies_affinity(pool_mgr: PoolManager) -> None:
    _, pool_abc, _ = await spawn_local(pool_mgr)

    results = [
        await pool_mgr.route_task(
            {"prompt": "Follow-up task"},
            pool_selector=PoolSelector.AFFINITY,
            pool_affinity=pool_abc,  # Always route to this pool
        )
        for _ in range(3)
    ]

    assert [result["pool_id"] for result in results] == [pool_abc] * 3


async def test_inter_pool_communication_message_types() -> None:
    assert [kind.name for kind in MessageType] == [
        *("TASK_DELEGATE", "RESULT_SHARE", "STATUS_UPDATE", "HEARTBEAT"),
        *("POOL_CREATED", "POOL_CLOSED", "TASK_COMPLETED"),
    ]


@pytest.mark.parametrize("body", ["task", "payload"])
async def test_inter_pool_communication_message_bus_api(capsys: pytest.CaptureFixture[str], body: str) -> None:
    # Create message bus
    bus = MessageBus(max_queue_size=1000)
    handled = asyncio.Event()

    # Subscribe to messages
    async def handle_task_delegate(msg: Message) -> None:
        print(f"Task from {msg.source_pool_id}: {msg.payload}")
        handled.set()

    bus.subscribe(MessageType.TASK_DELEGATE, handle_task_delegate)

    # Publish message
    await bus.publish(
        {
            "type": "task_delegate",
            "source_pool_id": "pool_abc",
            "target_pool_id": "pool_def",
            body: {"prompt": "Process this"},
        }
    )

    # Receive messages for specific pool
    msg = await bus.receive("pool_def", timeout=30.0)

    assert msg is not None
    assert msg.payload == {"prompt": "Process this"}
    async with asyncio.timeout(30):
        await handled.wait()
    assert capsys.readouterr().out == "Task from pool_abc: {'prompt': 'Process this'}\n"


async def test_configuration_environment_variables(terminal_mgr: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAHAVISHNU_POOLS_ENABLED", "true")
    monkeypatch.setenv("MAHAVISHNU_DEFAULT_POOL_TYPE", "mahavishnu")
    monkeypatch.setenv("MAHAVISHNU_POOL_ROUTING_STRATEGY", "round_robin")
    monkeypatch.setenv("MAHAVISHNU_POOL_DEFAULT_MIN_WORKERS", "2")
    monkeypatch.setenv("MAHAVISHNU_POOL_DEFAULT_MAX_WORKERS", "7")

    async with PoolManager(terminal_manager=terminal_mgr, message_bus=MessageBus()) as pool_mgr:
        pool_id = await pool_mgr.spawn_pool(name="from-environment")
        other_id = await pool_mgr.spawn_pool(name="another")
        info = await pool_mgr.pool_info(pool_id)
        routed = [await pool_mgr.route_task({"prompt": "Task"}) for _ in range(2)]

    assert (info["pool_type"], info["min_workers"], info["max_workers"]) == ("mahavishnu", 2, 7)
    assert {result["pool_id"] for result in routed} == {pool_id, other_id}


async def test_best_practices_scaling(pool_mgr: PoolManager) -> None:
    # Start with minimum workers, use health to monitor before scaling
    pool_id = await pool_mgr.spawn_pool("mahavishnu", PoolConfig(name="scaled", min_workers=1, max_workers=3))
    pool = pool_mgr._pools[pool_id]

    before = await pool.health_check()
    await pool.scale(3)
    after = await pool.health_check()

    assert (before["workers"], before["status"]) == (1, "running")
    assert (after["workers"], after["status"]) == (3, "running")
    with pytest.raises(errors.ScaleOutOfRange, match="max_workers=4"):
        await pool.scale(4)


async def test_architecture_overview_aggregate_results(pool_mgr: PoolManager) -> None:
    pool_ids = await spawn_local(pool_mgr, 2)
    for pool_id in pool_ids:
        await pool_mgr.execute_on_pool(pool_id, {"prompt": "Write code"})

    found = await pool_mgr.aggregate_results(pool_ids)

    assert {pool_id: found["pools"][pool_id]["completed"] for pool_id in pool_ids} == dict.fromkeys(pool_ids, 1)
    assert found["totals"]["completed"] == 2
