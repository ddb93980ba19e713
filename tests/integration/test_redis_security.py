"""Redis behind TLS and with users of few rights: groups, clients, beat and checks work, or say what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis
from celery.app.utils import bugreport

from mahavishnu_pools import errors
from mahavishnu_pools.checks.run import check
from mahavishnu_pools.embedded.ping import ping
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.routing.celery_app import make_app
from mahavishnu_pools.store import keys, pools
from mahavishnu_pools.store.client import AsyncStore, SyncStore
from tests.fixtures.groups import Site, site_on
from tests.fixtures.secured import ACL_RULES, Authority, Front, make_authority
from tests.fixtures.valkey import PrivateValkey
from tests.waiting import eventually

#: What beat holds while it runs.
LOCK = "mhv:beat::lock"


def assert_works(site: Site) -> None:
    """Run a task through Celery and through a manager on a real worker group, and talk to the group."""
    pool = site.pool(workers=2)
    group = site.group(pool)
    assert site.outcome(site.shell(pool, "echo hello")).output == "hello\n"
    replies = eventually(lambda: site.client().control.inspect(timeout=1).ping())
    assert list(replies) == [group.node]


async def assert_manager_works(site: Site) -> None:
    async with PoolManager(settings=site.settings) as manager:
        (pool,) = await manager.list_pools()
        work = {"task_type": "shell", "payload": {"command": "echo $0"}}
        result = await manager.execute_on_pool(pool.name, work, wait_timeout=30)
        assert result.ok, result.error
        report = await manager.check()
        assert set(report.found) - {"no_agent"} == set()


async def test_everything_works_behind_tls(tls_front: Front, tmp_path: Path) -> None:
    with site_on(tls_front, tmp_path) as site:  # type: ignore[arg-type]
        assert_works(site)
        await assert_manager_works(site)
    assert ping(tls_front.url).ready


async def test_everything_works_over_a_socket_file(socket_front: Front, tmp_path: Path) -> None:
    with site_on(socket_front, tmp_path) as site:  # type: ignore[arg-type]
        assert_works(site)
        await assert_manager_works(site)
    assert ping(socket_front.url).ready
    assert_beat_writes(LOCK, socket_front, tmp_path)


async def test_a_certificate_of_a_stranger_is_refused(tls_front: Front, authority: Authority, tmp_path: Path) -> None:
    other = make_authority(tmp_path)
    url = tls_front.url.replace(str(authority.ca), str(other.ca))

    with pytest.raises(errors.RedisUnavailable, match=r"(?i)certificate"), SyncStore(url, timeout=1) as store:
        store.run(pools.read_pools())
    async with AsyncStore(url, timeout=1) as store_:
        with pytest.raises(errors.RedisUnavailable, match=r"(?i)certificate"):
            await store_.run(pools.read_pools())
    assert "certificate" in (ping(url).reason or "").lower()


def test_beat_starts_behind_tls(tls_front: Front, tmp_path: Path) -> None:
    assert_beat_writes(LOCK, tls_front, tmp_path)


@pytest.mark.slow
def test_beat_ticks_behind_tls(tls_front: Front, tmp_path: Path) -> None:
    assert_beat_writes(keys.key("periodic", prefix=""), tls_front, tmp_path)


async def test_everything_works_for_a_user_of_the_documented_rights(
    acl_user: Front, own_valkey_server: PrivateValkey, tmp_path: Path
) -> None:
    with site_on(acl_user, tmp_path, namespace="team") as site:  # type: ignore[arg-type]
        site.store = SyncStore(acl_user.url, namespace="team")
        assert_works(site)
        await assert_manager_works(site)
        store = site.store
        denied = [
            (one["username"], one["object"], one["reason"])
            for one in own_valkey_log(own_valkey_server)
            if one["object"]
        ]
        store.close()
    assert [one for one in denied if one[1] not in ("config|get",)] == []


def test_beat_starts_for_a_user_of_the_documented_rights(acl_user: Front, tmp_path: Path) -> None:
    assert_beat_writes(LOCK, acl_user, tmp_path, namespace="team")


@pytest.mark.slow
def test_beat_ticks_for_a_user_of_the_documented_rights(acl_user: Front, tmp_path: Path) -> None:
    assert_beat_writes(keys.key("periodic", prefix=""), acl_user, tmp_path, namespace="team")


def test_the_documented_rights_are_those_of_these_tests() -> None:
    assert ACL_RULES.format("team:") in Path("docs/security.md").read_text()


def test_a_user_cannot_reach_another_namespace(acl_user: Front) -> None:
    others = SyncStore(acl_user.url, namespace="others")
    with others, pytest.raises(errors.RedisUnavailable, match="refused a command"):
        others.run(pools.reindex())


def test_a_wrong_password_is_told_without_showing_it(acl_user: Front) -> None:
    url = acl_user.url.replace("worker:", "worker:wrong-")

    with SyncStore(url, timeout=2) as store, pytest.raises(errors.RedisUnavailable, match="user or password") as caught:
        store.run(pools.read_pools())

    assert "wrong-" not in str(caught.value) + repr(caught.value.details())


async def test_a_check_without_the_right_to_ask_the_server_goes_on(acl_user: Front, tmp_path: Path) -> None:
    with site_on(acl_user, tmp_path, namespace="team") as site:  # type: ignore[arg-type]
        async with AsyncStore(acl_user.url, namespace="team") as store:
            report = await check(store, site.settings)

    assert report.server.version is not None
    assert report.status == "healthy"


def own_valkey_log(server: PrivateValkey) -> list[dict[str, Any]]:
    with redis.Redis.from_url(server.url, decode_responses=True) as admin:
        found: list[dict[str, Any]] = admin.acl_log()
        return found


def assert_beat_writes(key: str, front: Front, directory: Path, *, namespace: str = "") -> None:
    """Start beat and wait until it has written a key: its lock, or (after half a minute) a periodic task."""
    env = {
        "MAHAVISHNU_REDIS_URL": front.url,
        "MAHAVISHNU_NAMESPACE": namespace,
        "MAHAVISHNU_DATA_DIR": str(directory),
    }
    command = [sys.executable, "-m", "celery", "-A", "workers.app", "beat", "-S", "redbeat.RedBeatScheduler"]
    log = directory / "beat.log"
    with log.open("wb") as file:
        beat = subprocess.Popen(
            [*command, "--pidfile", ""], cwd=Path.cwd(), env={**os.environ, **env}, stdout=file, stderr=file
        )
    try:
        with SyncStore(front.url, namespace=namespace) as store:
            eventually(lambda: store.redis.exists(store.prefix + key), within=60)
    except AssertionError:
        print(log.read_text())
        raise
    finally:
        beat.kill()
        beat.wait(30)


def test_celery_never_shows_the_password(acl_user: Front, tmp_path: Path) -> None:
    password = acl_user.url.split(":")[2].split("@")[0]
    with site_on(acl_user, tmp_path, namespace="team") as site:  # type: ignore[arg-type]
        app = make_app(site.settings, acl_user.url)

        assert password not in bugreport(app)
        assert password not in repr(site.settings)
        app.close()
