"""Variables of a task that look like secrets are refused before anything is stored."""

from __future__ import annotations

from typing import Any

import pytest

from mahavishnu_pools import errors, names
from mahavishnu_pools.broker.message import envelope
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.routing.celery_app import make_app
from mahavishnu_pools.schemas.secret_names import looks_secret
from mahavishnu_pools.schemas.task import TaskSpec
from mahavishnu_pools.settings import Settings
from tests.fakes.worker import FakeNode

VALUE = "sk-not-for-everybody"


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"prompt": "x", "env": {"MY_API_KEY": VALUE}}, "env.MY_API_KEY"),
        ({"prompt": "x", "env": {"A": "1", "github_token": VALUE}}, "env.github_token"),
        (
            {"task_type": "container", "payload": {"image": "i", "env": {"DB_PASSWORD": VALUE}}},
            "payload.env.DB_PASSWORD",
        ),
    ],
)
def test_the_variable_is_named_and_its_value_is_not(fields: dict[str, Any], place: str) -> None:
    with pytest.raises(errors.SecretInTheOpen) as raised:
        envelope(TaskSpec.model_validate(fields), task_id="t", max_bytes=10_000)

    assert raised.value.message.startswith(f"{place}: looks like a secret")
    assert VALUE not in raised.value.message
    assert "secrets.env" in raised.value.message


@pytest.mark.parametrize(
    ("name", "value"),
    [("MONKEY", VALUE), ("KEY_FILE", "/run/secrets/key"), ("MAX_TOKEN", "4096"), ("PATH", "/bin"), ("KEYBOARD", VALUE)],
)
def test_what_only_sounds_alike_is_taken(name: str, value: str) -> None:
    assert not looks_secret(name, value)


async def test_nothing_is_sent(manager: PoolManager, node: FakeNode) -> None:
    await manager.spawn_pool(name="p", worker_type="shell")

    with pytest.raises(errors.InvalidField):
        await manager.submit({"prompt": "x", "env": {"TOKEN": VALUE}}, pool="p")

    assert node.ran == []


def test_celery_calls_are_looked_at_too(settings: Settings, redis_url: str) -> None:
    app = make_app(settings, redis_url)

    with pytest.raises(errors.SecretInTheOpen):
        app.tasks[names.RUN_TASK].apply_async(({"prompt": "x", "env": {"TOKEN": VALUE}},), pool="p")
    app.close()
