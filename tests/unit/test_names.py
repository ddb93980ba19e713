"""Names that cross process borders."""

from __future__ import annotations

import re
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mahavishnu_pools import names

POOL_NAMES = st.from_regex(names.POOL_NAME_PATTERN, fullmatch=True).filter(lambda name: not name.startswith("pool_"))


@given(st.integers(min_value=0, max_value=9))
def test_a_priority_survives_the_way_to_celery_and_back(priority: int) -> None:
    assert names.own_priority(names.celery_priority(priority)) == priority


@given(st.integers(min_value=0, max_value=9), st.integers(min_value=0, max_value=9))
def test_the_higher_of_ours_is_the_lower_of_celerys(first: int, second: int) -> None:
    assert (first > second) == (names.celery_priority(first) < names.celery_priority(second))


@given(st.integers(min_value=0, max_value=9))
def test_every_priority_has_a_bucket(priority: int) -> None:
    assert names.celery_priority(priority) in names.PRIORITY_STEPS


@given(st.integers())
def test_any_number_from_a_foreign_producer_is_a_priority_of_ours(priority: int) -> None:
    assert 0 <= names.own_priority(priority) <= 9


def test_ids_are_fresh_and_written_as_promised() -> None:
    pools = {names.new_pool_id() for _ in range(1000)}
    tasks = {names.new_task_id() for _ in range(1000)}

    assert len(pools) == len(tasks) == 1000
    assert all(re.fullmatch(r"pool_[0-9a-f]{12}", pool) for pool in pools)
    assert all(re.fullmatch(r"task_[0-9a-f]{16}", task) for task in tasks)


def test_an_id_is_never_a_name() -> None:
    pool_id = names.new_pool_id()

    assert names.is_pool_id(pool_id)
    assert not names.is_pool_name(pool_id)


@given(POOL_NAMES)
def test_a_name_is_never_an_id(name: str) -> None:
    assert names.is_pool_name(name)
    assert not names.is_pool_id(name)


@given(st.text())
def test_a_usable_name_has_only_letters_that_are_safe_in_keys_and_addresses(text: str) -> None:
    if names.is_pool_name(text):
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,63}", text)


@pytest.mark.parametrize("name", ["a", "A9", "local-1", "eu.west_2", "x" * 63])
def test_takes_usable_names(name: str) -> None:
    assert names.is_pool_name(name)


@pytest.mark.parametrize(
    "name", ["", " ", "-a", ".a", "_a", "a b", "a/b", "a:b", "a\n", "ä", "x" * 64, "pool_1", "pool_", "a{b}", "a*"]
)
def test_refuses_odd_names(name: str) -> None:
    assert not names.is_pool_name(name)


@given(POOL_NAMES)
def test_a_queue_leads_back_to_its_pool(pool_id: str) -> None:
    assert names.pool_of(names.queue_of(pool_id)) == pool_id


@pytest.mark.parametrize("queue", ["celery", "", "pool", "pools.x", "x.pool.y"])
def test_a_foreign_queue_is_no_pools(queue: str) -> None:
    assert names.pool_of(queue) is None


def test_a_worker_node_is_named_for_its_pool_and_machine() -> None:
    assert names.worker_node("pool_1", "host") == "pool_1@host"


@given(st.text())
def test_any_host_name_gives_a_usable_node_name(host: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "gethostname", lambda: host)

        assert re.fullmatch(names.POOL_NAME_PATTERN, names.default_node_name())
