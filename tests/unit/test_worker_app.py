"""The app of a worker that a plain ``celery worker`` command starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from celery import _state

from tests.fixtures.valkey import free_port
from workers.app import _default_app

MODULE = """
from celery import Celery, shared_task

app = Celery("shop", set_as_current=False)


@app.task
def price():
    return 7


@shared_task
def shared():
    return 8
"""


def test_it_has_the_tasks_of_imported_modules_whatever_app_they_are_defined_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_state, "_on_app_finalizers", set(_state._on_app_finalizers))
    monkeypatch.setattr(_state._tls, "current_app", None)
    (tmp_path / "shop_of_a_user.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("MAHAVISHNU_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    monkeypatch.setenv("MAHAVISHNU_IMPORTS", "shop_of_a_user")

    app = _default_app.__wrapped__()

    assert {"shop_of_a_user.price", "shop_of_a_user.shared"} <= set(app.tasks)
