"""The fixtures every other test stands on."""

from __future__ import annotations

import logging
import os

import pytest
import redis

from mahavishnu_pools.settings import Settings
from tests.fixtures.valkey import PrivateValkey


def test_the_server_answers_and_writes_an_append_only_file(valkey_server: PrivateValkey) -> None:
    with redis.Redis.from_url(valkey_server.url) as client:
        assert client.ping()
        assert client.config_get("appendonly") == {"appendonly": "yes"}
    assert valkey_server.directory.joinpath("appendonlydir").is_dir()


def test_the_server_refuses_everybody_without_the_password(valkey_server: PrivateValkey) -> None:
    with redis.Redis(port=valkey_server.port) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_a_killed_server_comes_back_on_its_port_with_its_data(own_valkey_server: PrivateValkey) -> None:
    with redis.Redis.from_url(own_valkey_server.url) as client:
        client.set("kept", "yes")
    first_pid = own_valkey_server.pid

    own_valkey_server.kill()
    own_valkey_server.restart()

    assert own_valkey_server.pid != first_pid
    with redis.Redis.from_url(own_valkey_server.url) as client:
        assert client.get("kept") == b"yes"


def test_settings_of_a_test_are_its_own(settings: Settings, redis_url: str, namespace: str) -> None:
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == redis_url
    assert settings.namespace == namespace
    assert settings.data_dir.is_dir()


def test_what_is_logged_while_pytest_captures_nothing_is_not_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    captures = [one for one in logging.getLogger().handlers if type(one).__module__.startswith("_pytest")]
    kept = [one for one in logging.getLogger().handlers if one not in captures]
    monkeypatch.setattr(logging.getLogger(), "handlers", kept)

    logging.getLogger("workers.claim_loop").warning("Claims wait for Redis")

    assert captures
    assert capsys.readouterr().err == ""


def test_nothing_leaks_in_from_the_machine() -> None:
    leaked = [name for name in os.environ if name.startswith("MAHAVISHNU_")]

    assert leaked == ["MAHAVISHNU_SETTINGS_FILE"]
    assert os.environ["MAHAVISHNU_SETTINGS_FILE"] == os.devnull
