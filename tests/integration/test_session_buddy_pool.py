"""A pool that delegates to a Session-Buddy server: prompts, failures, restarts of the server, cancel and time-out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mahavishnu_pools import errors, names
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.pools.factory import pool_type
from mahavishnu_pools.schemas.pool import PoolConfig
from mahavishnu_pools.schemas.task import TaskResult
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store.client import SyncStore
from mahavishnu_pools.store.leases import list_leases
from mahavishnu_pools.store.tasks import cancel
from tests.fakes.foreign_session_buddy import ForeignSessionBuddy
from tests.fixtures.groups import Site
from tests.waiting import eventually


@pytest.fixture
def buddy() -> Iterator[ForeignSessionBuddy]:
    server = ForeignSessionBuddy()
    yield server
    server.go.set()
    server.stop()


@pytest.fixture
def pool(site: Site, buddy: ForeignSessionBuddy) -> Iterator[str]:
    pool_id = site.pool(workers=3, pool_type="session-buddy", max_workers=3, endpoint=buddy.url)
    group = site.group(pool_id)
    yield pool_id
    group.end()


def prompt(site: Site, pool_id: str, text: str, **fields: object) -> str:
    app = site.apps[0] if site.apps else site.client()
    spec = {"prompt": text, **fields}
    return str(app.send_task(names.RUN_TASK, args=[spec], queue=names.queue_of(pool_id)).id)


def leases_at(redis_url: str) -> int:
    with SyncStore(redis_url) as store:
        return len(store.run(list_leases()))


def outcomes(site: Site, tasks: list[str]) -> list[TaskResult]:
    return [site.outcome(one, within=30) for one in tasks]


def test_prompts_are_run_by_the_server_and_its_sentence_is_the_output(
    site: Site, pool: str, buddy: ForeignSessionBuddy
) -> None:
    assert buddy.pools == [pool]

    found = outcomes(site, [prompt(site, pool, f"prompt {number}") for number in range(10)])

    assert {one.status for one in found} == {"completed"}
    assert sorted(buddy.prompts) == sorted(f"prompt {number}" for number in range(10))
    assert found[0].output == f"✅ Task executed on pool {pool} by worker {pool}-worker-0"
    assert found[0].metadata == {
        "remote_output_available": False,
        "delegated_to": buddy.url,
        "remote_pool_id": pool,
    }


def test_a_failure_that_the_server_reports_as_a_success_is_a_failure(site: Site, pool: str) -> None:
    found = site.outcome(prompt(site, pool, "fail"))

    assert (found.status, found.error) == ("failed", "Session-Buddy reports: the worker broke")


def test_a_failure_without_a_reason_is_the_timeout(site: Site, pool: str) -> None:
    found = site.outcome(prompt(site, pool, "hold", timeout=0.3))

    assert found.status == "timeout"
    assert found.metadata["remote_may_still_run"] is True


def test_a_server_that_was_restarted_gets_its_pool_again(site: Site, pool: str, buddy: ForeignSessionBuddy) -> None:
    assert site.outcome(prompt(site, pool, "before")).ok
    buddy.stop()
    buddy.start()

    after = site.outcome(prompt(site, pool, "after"), within=30)

    assert after.ok
    assert buddy.pools == [pool]


def test_prompts_wait_while_the_server_is_away_and_the_pool_says_so(
    site: Site, pool: str, buddy: ForeignSessionBuddy
) -> None:
    buddy.stop()
    waiting = [prompt(site, pool, f"while away {number}") for number in range(5)]

    away = eventually(lambda: site.read_pool(pool), until=lambda record: record.status == "degraded", within=30)
    assert "127.0.0.1" in str(away.reason)
    buddy.start()

    assert {one.status for one in outcomes(site, waiting)} == {"completed"}
    well = eventually(lambda: site.read_pool(pool), until=lambda record: record.status == "running", within=30)
    assert not well.reason
    # Each ran once: the server was gone before any was sent.
    assert sorted(buddy.prompts) == [f"while away {number}" for number in range(5)]


def test_a_cancelled_prompt_is_given_up_and_keeps_its_slot_until_the_server_has_answered(
    site: Site, pool: str, buddy: ForeignSessionBuddy
) -> None:
    held = [prompt(site, pool, f"hold {number}") for number in range(3)]
    eventually(lambda: len(buddy.prompts) == 3)

    for one in held:
        site.run(cancel(one, reason="Nobody wants it.", result_ttl=60))
    found = outcomes(site, held)
    assert {one.status for one in found} == {"cancelled"}
    assert found[0].metadata["remote_may_still_run"] is True

    later = prompt(site, pool, "later")
    site.running(later)
    assert "later" not in buddy.prompts
    buddy.go.set()
    assert site.outcome(later).ok


def test_what_is_no_prompt_is_refused_and_an_unregistered_type_becomes_one(
    site: Site, pool: str, buddy: ForeignSessionBuddy
) -> None:
    app = site.client()
    queue = names.queue_of(pool)
    shell = {"task_type": "shell", "payload": {"command": ["true"]}}
    refused = site.outcome(str(app.send_task(names.RUN_TASK, args=[shell], queue=queue).id))
    secret = site.outcome(prompt(site, pool, "x", secrets=["NAME"]))
    sweep = {"task_type": "code_sweep", "payload": {"repo": "a"}}
    made = site.outcome(str(app.send_task(names.RUN_TASK, args=[sweep], queue=queue).id))

    assert "delegates prompts" in str(refused.error)
    assert "secrets" in str(secret.error)
    assert made.ok
    assert '"code_sweep"' in buddy.prompts[0]


async def test_a_delegated_pool_is_spawned_used_and_leaves_nothing_on_the_server(
    buddy: ForeignSessionBuddy, tmp_path: Path, valkey_binary: Path
) -> None:
    async with PoolManager(settings=Settings(data_dir=tmp_path)) as manager:
        pool_id = await manager.spawn_pool(
            "session-buddy", PoolConfig(name="delegated", pool_type="session-buddy", endpoint=buddy.url)
        )
        result = await manager.execute_on_pool(pool_id, {"prompt": "Analyze code"})
        info = await manager.pool_info(pool_id)
        with pytest.raises(errors.ScalingNotSupported, match="Spawn more pools"):
            await manager.scale_pool(pool_id, 5)

        assert result["status"] == "completed"
        assert (info.workers, info.min_workers, info.max_workers, info.worker_type) == (3, 3, 3, None)
        with pytest.raises(errors.NoPoolAvailable, match="prompts only"):
            await manager.route_task({"task_type": "shell", "payload": {"command": ["true"]}})
        held: list[int] = []
        redis_url = (await manager._connected()).store.url
        buddy.on_delete = lambda: held.append(leases_at(redis_url))
        await manager.close_pool(pool_id)
        # The group's lease was still open then: until it is closed the pool cannot be removed.
        assert (held, buddy.pools) == ([1], [])

        with pytest.raises(errors.PoolNotReady, match=r"127\.0\.0\.1:1/mcp"):
            await manager.spawn_pool("session-buddy", name="nowhere", endpoint="http://127.0.0.1:1/mcp")
        assert await manager.list_pools() == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"min_workers": 2}, "exactly 3"),
        ({"max_workers": 10}, "exactly 3"),
        ({"replicas": 2}, "one node"),
        ({"worker_type": "shell"}, "server's affair"),
        ({"endpoint": "localhost:8678"}, "no address"),
        ({"endpoint": "http://me:word@localhost/mcp"}, "token_secret"),
        ({"extra_config": {"token": "abc"}}, "token_secret, ca_file"),
    ],
)
def test_a_configuration_the_server_cannot_keep_is_refused(fields: dict[str, object], said: str) -> None:
    config = PoolConfig.model_validate({"name": "delegated", "pool_type": "session-buddy", **fields})

    with pytest.raises(errors.InvalidField, match=said):
        pool_type("session-buddy").check(config)
