"""What all worker groups of an agent have in common is made once, before they are forked."""

from __future__ import annotations

import dataclasses
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, _state, shared_task

from mahavishnu_pools.settings import Settings
from mahavishnu_pools.task_types import ENTRY_POINT_GROUP
from tests.fixtures.valkey import free_port
from workers.agent.preparation import Preparation
from workers.agent.start import GroupFunction, GroupStart, dump_settings
from workers.app import use_app
from workers.group_worker import run_group
from workers.task_types.registry import find_plug_ins


class Counting:
    """A group's function that counts how often it is prepared; it cannot be for a pool named ``fails``."""

    def __init__(self) -> None:
        self.prepared = 0

    def __call__(self, start: GroupStart, *, tick: Callable[[], None], news: Callable[..., None]) -> int:
        return 1

    def prepare(self, start: GroupStart) -> GroupFunction:
        self.prepared += 1
        if start.settings["namespace"] == "fails":
            raise RuntimeError("no")
        return lambda start, *, tick, news: 2


counting = Counting()


def plain(start: GroupStart, *, tick: Callable[[], None], news: Callable[..., None]) -> int:
    return 3


def start_of(pool_id: str, **settings: Any) -> GroupStart:
    return GroupStart(
        pool_id=pool_id,
        node="n",
        lease="l",
        workers=1,
        replicas=1,
        config={"name": "p"},
        worker_type=None,
        settings=dump_settings(Settings(**settings), node="n"),
        redis_url=f"redis://127.0.0.1:{free_port()}/0",
        agent_pid=1,
        agent_id="a",
        allowed_roots=(),
        data_dir=".",
    )


def run(function: GroupFunction, start: GroupStart) -> int:
    return function(start, tick=lambda: None, news=lambda *_: None)


@pytest.fixture
def preparation(monkeypatch: pytest.MonkeyPatch) -> Preparation:
    monkeypatch.setattr(counting, "prepared", 0)
    return Preparation(f"{__name__}:counting")


def test_groups_with_the_same_settings_are_prepared_once(preparation: Preparation) -> None:
    first = start_of("a")

    ran = [run(preparation.function_for(dataclasses.replace(first, pool_id=pool)), first) for pool in "abc"]

    assert (ran, counting.prepared) == ([2, 2, 2], 1)


def test_other_settings_or_another_redis_are_prepared_for_anew(preparation: Preparation) -> None:
    first = start_of("a", namespace="one")
    for start in (first, dataclasses.replace(first, redis_url="redis://elsewhere"), start_of("a", namespace="two")):
        assert run(preparation.function_for(start), start) == 2

    assert counting.prepared == 3


def test_what_cannot_be_prepared_is_left_to_the_group_which_can_tell_why(
    preparation: Preparation, caplog: pytest.LogCaptureFixture
) -> None:
    start = start_of("a", namespace="fails")

    assert [run(preparation.function_for(start), start) for _ in range(2)] == [1, 1]
    assert counting.prepared == 1
    assert "cannot be prepared" in caplog.text


def test_a_function_without_a_preparation_is_run_as_it_is() -> None:
    assert run(Preparation(f"{__name__}:plain").function_for(start_of("a")), start_of("a")) == 3


def test_a_celery_group_is_prepared_without_a_server_a_thread_or_a_name_of_its_own() -> None:
    threads = threading.active_count()

    prepared = run_group.prepare(start_of("a"))

    app = prepared.args[1]  # type: ignore[attr-defined]
    assert threading.active_count() == threads
    # Celery names replies and events after these; two groups must not share them.
    assert not {"oid", "thread_oid"} & set(app.__dict__)
    assert app.backend.thread_safe


def test_tasks_of_modules_that_are_imported_later_are_taken_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_state, "_on_app_finalizers", set(_state._on_app_finalizers))
    monkeypatch.setattr(_state._tls, "current_app", None)
    app = run_group.prepare(start_of("a")).args[1]  # type: ignore[attr-defined]
    known = set(app.tasks)

    def price() -> int:
        return 7

    # As a module does that has an app of its own, or none, and is only named by ``imports``.
    Celery("shop", set_as_current=False).task(name="shop.price")(price)
    shared_task(name="shop.shared")(price)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        use_app(app)

    assert set(app.tasks) == known | {"shop.price", "shop.shared"}
    assert app.tasks["shop.price"].app is app


def test_a_plug_in_that_is_installed_later_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    before = [one.name for one in find_plug_ins()]

    about = tmp_path / "late_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: late-package\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{ENTRY_POINT_GROUP}]\nlate = late_package:task_type\n")

    assert [one.name for one in find_plug_ins()] == [*before, "late"]
