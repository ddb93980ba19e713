"""What is the user's stays as it was: other queues, transports, apps, a project's ``workers`` and ``celeryconfig``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import celery
import kombu.transport
import pytest
from celery import Celery
from kombu.transport.redis import Transport

from mahavishnu_pools import names
from mahavishnu_pools.celery import install
from mahavishnu_pools.schemas.pool import PoolConfig, PoolStatus
from mahavishnu_pools.store import pools
from tests.fixtures.groups import ROOT, Site
from tests.waiting import eventually

STOCK_ALIASES = dict(kombu.transport.TRANSPORT_ALIASES)


@pytest.fixture
def app(site: Site) -> Iterator[Celery]:
    app = Celery("shop", broker=site.url, backend=site.url, set_as_current=False)
    app.conf.task_routes = {"mail.*": {"queue": "mail"}}
    yield app
    app.backend.remove_pending_result = lambda result: result
    app.close()


def test_transport_broker_and_routes_of_other_queues_are_untouched(site: Site, app: Celery) -> None:
    """Point 9: our measures hang on the app's AMQP class; nothing global is exchanged."""
    before = app.conf.broker_url

    assert install(app, settings=site.settings) is app
    assert install(app, settings=site.settings) is app

    with app.connection_for_write() as connection:
        assert connection.transport_cls == "redis"
        assert type(connection.transport) is Transport
        assert connection.as_uri().startswith("redis://")
    assert app.conf.broker_url == before
    assert dict(kombu.transport.TRANSPORT_ALIASES) == STOCK_ALIASES
    assert type(app.backend).__module__ == "celery.backends.redis"
    assert app.amqp.router.route({}, "mail.send")["queue"].name == "mail"


def test_a_task_for_an_own_queue_is_a_stock_message_in_a_stock_list(site: Site, app: Celery) -> None:
    install(app, settings=site.settings)

    app.send_task("mail.send", args=["x"])
    app.send_task("other", args=[1], queue="own")

    assert site.redis.llen("mail") == 1
    assert site.redis.llen("own") == 1
    assert site.redis.keys("mhv:task:*") == []
    site.redis.delete("mail", "own")


def test_another_app_in_the_process_is_not_touched(site: Site, app: Celery) -> None:
    other = site.stock("other")
    install(app, settings=site.settings)
    pool_id = site.pool()

    other.send_task("x", queue=names.queue_of(pool_id))

    assert type(other.amqp) is celery.app.amqp.AMQP
    assert type(other.control) is celery.app.control.Control
    assert site.redis.llen(names.queue_of(pool_id)) == 1
    assert not other.conf.task_routes


def test_a_stock_worker_of_an_app_with_pools_runs_its_own_queue(site: Site) -> None:
    env = {**os.environ, "SHOP_URL": site.url, "SHOP_DIR": str(site.directory)}
    command = ["-m", "celery", "-A", "tests.fakes.shop", "worker", "-P", "solo", "-Q", "own", "-l", "INFO"]
    log = site.directory / "stock-worker.log"
    with log.open("wb") as out:
        worker = subprocess.Popen([sys.executable, *command], cwd=ROOT, env=env, stdout=out, stderr=out)
    try:
        result = site.stock().send_task("tests.fakes.shop.add", args=[20, 22], queue="own")
        assert result.get(timeout=30) == 42
    finally:
        print(log.read_text()[-3000:])
        worker.kill()
        worker.wait()


PROJECT = {
    "workers/__init__.py": "",
    "workers/jobs.py": """
        from celery import Celery
        from mahavishnu_pools.celery import install

        app = Celery("theirs", set_as_current=False)
        app.config_from_object("celeryconfig")
        install(app)

        @app.task(name="theirs.where")
        def where():
            import workers
            return workers.__file__
    """,
    "celeryconfig.py": """
        import os
        broker_url = result_backend = os.environ["THEIR_REDIS"]
        task_default_queue = "theirs"
        timezone = "Europe/Berlin"
    """,
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    import textwrap

    for name, text in PROJECT.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return tmp_path / "project"


@pytest.fixture
def start_agent(own_site: Site, project: Path, tmp_path: Path) -> Iterator[Callable[[], Any]]:
    made: list[subprocess.Popen[bytes]] = []
    env = {**os.environ, "PYTHONPATH": str(project), "THEIR_REDIS": own_site.url, "MAHAVISHNU_REDIS_URL": own_site.url}
    env |= {
        "MAHAVISHNU_DATA_DIR": str(tmp_path / "data"),
        "MAHAVISHNU_NODE_NAME": "n1",
        "MAHAVISHNU_DRAIN_TIMEOUT": "1",
    }
    log = tmp_path / "agent.log"

    def start() -> None:
        with log.open("wb") as out:
            command = [sys.executable, "-P", "-m", "mahavishnu_workers.agent"]
            made.append(subprocess.Popen(command, cwd=project, env=env, stdout=out, stderr=out))

    yield start
    for process in made:
        process.terminate()
        process.wait(timeout=30)
    print(log.read_text()[-4000:])


def test_a_project_with_its_own_workers_package_and_celeryconfig_is_served(
    own_site: Site, start_agent: Callable[[], Any], project: Path
) -> None:
    site = own_site
    start_agent()
    pool_id = names.new_pool_id()
    config = PoolConfig(name="theirs", worker_type="shell", celery_app="workers.jobs:app", imports=("workers.jobs",))
    assert site.run(pools.create_pool(pool_id, config)) is None
    eventually(lambda: site.read_pool(pool_id).status, until=lambda status: status is PoolStatus.RUNNING, within=30)

    result = site.stock().send_task("theirs.where", queue=names.queue_of(pool_id))

    assert result.get(timeout=30) == str(project / "workers" / "__init__.py")
    assert site.outcome(site.shell(pool_id, "echo both")).output == "both\n"
