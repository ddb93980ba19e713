"""An app that is configured after ``install``, and one whose pools cannot be reached."""

from __future__ import annotations

from typing import ClassVar

from celery import Celery
from celery.result import AsyncResult

from mahavishnu_pools.celery import install
from mahavishnu_pools.settings import Settings
from tests.fixtures.groups import Site


class Configuration:
    """What a user's configuration module has."""

    task_routes: ClassVar = {"own.*": {"queue": "own"}}
    task_default_queue = "mine"


def test_pools_are_found_when_the_app_is_configured_after_install(site: Site) -> None:
    pool_id = site.pool("late")
    app = Celery("late", broker=site.url, backend=site.url, set_as_current=False)
    site.apps.append(app)
    install(app, redis_url=site.url)

    app.config_from_object(Configuration)
    app.conf.update(task_routes={"own.*": {"queue": "own"}})
    sent: AsyncResult = app.send_task("users.task", pool="late")

    assert site.task(sent.id).pool_id == pool_id
    assert site.redis.llen("mine") == 0


def test_revoking_works_without_the_pools_redis(site: Site, settings: Settings) -> None:
    app = Celery("alone", broker=site.url, backend=site.url, set_as_current=False)
    site.apps.append(app)
    install(app, redis_url="redis://127.0.0.1:1/0")

    app.control.revoke("somebody's")

    assert app.control.inspect(timeout=0.2).revoked() is None
