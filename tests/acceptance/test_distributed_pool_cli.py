"""The Python examples of DISTRIBUTED_POOL_CLI that need only local pools."""

from __future__ import annotations

import json

from mahavishnu_pools.bus.redis import RedisBus
from mahavishnu_pools.core.app import MahavishnuApp
from mahavishnu_pools.pools import PoolConfig, PoolManager


async def test_integration_mahavishnu_workflows() -> None:
    maha_app = MahavishnuApp()

    # Spawn pool
    config = PoolConfig(name="workflow-pool", pool_type="mahavishnu")
    pool_id = await maha_app.pool_manager.spawn_pool("mahavishnu", config)

    # Execute workflow tasks
    task = {"task_type": "workflow_step", "payload": {"step": 1}}
    result = await maha_app.pool_manager.execute_on_pool(pool_id, task)
    await maha_app.close()

    # The type is not registered, so the AI program got it as a prompt
    assert result["status"] == "completed"
    prompt = json.loads(result["output"].removeprefix("Done: "))
    assert prompt == {"task_type": "workflow_step", "payload": {"step": 1}}


async def test_troubleshooting_pool_manager_is_there_before_anything_is_connected() -> None:
    async with MahavishnuApp() as maha_app:
        manager = maha_app.pool_manager

        assert isinstance(manager, PoolManager)
        assert manager is maha_app.pool_manager
        assert isinstance(manager.message_bus, RedisBus)
        assert maha_app.message_bus is manager.message_bus
