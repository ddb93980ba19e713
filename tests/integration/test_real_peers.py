"""Delegation to the real Session-Buddy, run by ``make test-peers``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mahavishnu_pools import names
from tests.fixtures.groups import Site
from tests.fixtures.peers import Peer
from tests.waiting import eventually

pytestmark = [pytest.mark.peers_real, pytest.mark.slow]


@pytest.fixture
def buddy(tmp_path: Path) -> Iterator[Peer]:
    peer = Peer("session-buddy", tmp_path)
    yield peer
    peer.kill()


def prompt(site: Site, pool_id: str, text: str) -> str:
    app = site.apps[0] if site.apps else site.client()
    return str(app.send_task(names.RUN_TASK, args=[{"prompt": text}], queue=names.queue_of(pool_id)).id)


def test_prompts_are_delegated_also_across_a_restart_of_the_server(site: Site, buddy: Peer) -> None:
    pool_id = site.pool(workers=3, pool_type="session-buddy", max_workers=3, endpoint=buddy.url)
    site.group(pool_id)
    before = [site.outcome(prompt(site, pool_id, f"before {number}"), within=30) for number in range(10)]

    buddy.kill()
    during = [prompt(site, pool_id, f"during {number}") for number in range(10)]
    eventually(lambda: site.read_pool(pool_id), until=lambda pool: pool.status == "degraded", within=30)
    buddy.start()

    found = [*before, *(site.outcome(one, within=60) for one in during)]
    assert {one.status for one in found} == {"completed"}
    assert all(f"Task executed on pool {pool_id}" in str(one.output) for one in found)
    assert {one.metadata["remote_output_available"] for one in found} == {False}
    eventually(lambda: site.read_pool(pool_id), until=lambda pool: pool.status == "running", within=30)


def test_the_small_server_without_pools_is_refused_in_a_sentence(site: Site, tmp_path: Path) -> None:
    peer = Peer("session-buddy-small", tmp_path)
    try:
        pool_id = site.pool(workers=3, pool_type="session-buddy", max_workers=3, endpoint=peer.url)
        with pytest.raises(AssertionError, match="has no tool create_pool, execute_on_pool"):
            site.group(pool_id)
    finally:
        peer.kill()
