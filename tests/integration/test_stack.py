"""The local stack with real processes: what starts, what cannot be started, how it stops."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import redis
from pydantic import SecretStr

from mahavishnu_pools import errors
from mahavishnu_pools.embedded import server_binary, stack
from mahavishnu_pools.embedded.identity import identify, is_alive
from mahavishnu_pools.embedded.state import PartStatus, read_state
from mahavishnu_pools.settings import Settings
from tests.fixtures.local_stack import (
    BROKEN_AGENT,
    DEAF_AGENT,
    STAND_INS,
    client,
    healthy,
    kill,
    marked,
    part,
    parts_with,
    process,
    start,
)
from tests.fixtures.valkey import PrivateValkey, free_port

# ── starting ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_all_parts_are_ready_when_start_returns(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()

    state = start(settings)

    assert [(row.name, row.status) for row in state.parts] == [
        ("redis", PartStatus.RUNNING),
        ("agent", PartStatus.RUNNING),
        ("beat", PartStatus.RUNNING),
    ]
    with client(state) as connection:
        assert connection.config_get("append*")["appendonly"] == "yes"
        assert connection.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert healthy(settings)
    assert stack.find_redis_url(settings) == state.redis_url


def test_the_password_is_in_no_command_line_and_in_no_file_others_can_read(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings()

    state = start(settings)

    password = client(state).connection_pool.connection_kwargs["password"]
    pids = marked(settings)
    assert len(pids) == 5  # supervisor, redis, agent, its group, beat
    assert not [pid for pid in pids if password in " ".join(psutil.Process(pid).cmdline())]
    assert stat.S_IMODE(settings.data_dir.stat().st_mode) == 0o700
    holding = [
        path for path in settings.data_dir.rglob("*") if path.is_file() and password in path.read_text(errors="ignore")
    ]
    assert {path.name for path in holding} == {"stack.json", "server.conf"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in holding} == {0o600}


def test_the_parts_run_in_the_data_directory_and_get_the_url_by_environment(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings(node_tags=("gpu",))

    state = start(settings)

    agent = psutil.Process(process(state, "agent").pid)
    environment = agent.environ()
    assert agent.cwd() == str(settings.data_dir)
    assert environment["MAHAVISHNU_REDIS_URL"] == state.redis_url
    assert environment["MAHAVISHNU_NODE_TAGS"] == '["gpu"]'
    assert json.loads(environment["MAHAVISHNU_ALLOWED_ROOTS"]) == [os.getcwd()]


def test_starting_again_finds_the_running_stack(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    first = start(settings)

    again = start(settings)

    assert (again.supervisor, again.parts, again.redis_url) == (first.supervisor, first.parts, first.redis_url)
    assert stack.ensure_running(settings, parts=STAND_INS).redis_url == first.redis_url


def test_two_starts_at_once_make_one_stack(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()

    with ThreadPoolExecutor(2) as threads:
        states = list(threads.map(start, [settings, settings]))

    assert states[0].supervisor == states[1].supervisor
    assert len(marked(settings)) == 5


def test_two_stacks_in_two_directories_do_not_disturb_each_other(make_settings: Callable[..., Settings]) -> None:
    one, two = make_settings("one"), make_settings("two")
    first, second = start(one), start(two)
    with client(first) as connection:
        connection.set("whose", "first")

    stack.stop(two.data_dir, drain_seconds=5)

    assert first.redis_url != second.redis_url
    assert healthy(one)
    assert not marked(two)
    with client(first) as connection:
        assert connection.get("whose") == "first"


def test_a_data_directory_may_have_an_odd_name(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings('my "data" d\'été {x}')

    start(settings)

    assert healthy(settings)


def test_a_configured_port_is_used(make_settings: Callable[..., Settings]) -> None:
    port = free_port()

    state = start(make_settings(redis_port=port))

    assert part(state, "redis").url == f"redis://127.0.0.1:{port}/0"


def test_with_an_own_redis_none_is_started_and_none_is_stopped(
    make_settings: Callable[..., Settings], own_valkey_server: PrivateValkey
) -> None:
    settings = make_settings(redis_url=SecretStr(own_valkey_server.url))

    state = start(settings)

    assert (part(state, "redis").status, part(state, "redis").process) == (PartStatus.EXTERNAL, None)
    assert healthy(settings)
    stack.stop(settings.data_dir, drain_seconds=5)
    with redis.Redis.from_url(own_valkey_server.url) as connection:
        assert connection.ping()


# ── what cannot be started ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_port_in_use_is_named_with_the_remedy_and_nothing_is_left(make_settings: Callable[..., Settings]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = make_settings(redis_port=port)

        with pytest.raises(errors.StackPartFailed, match=rf"Port {port} .*in use.*MAHAVISHNU_REDIS_PORT"):
            start(settings)

    assert not marked(settings)
    assert read_state(settings.data_dir) is None


def test_a_missing_server_program_is_named_with_the_remedy(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(server_binary, "_wheel_program", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(errors.StackPartFailed, match=r"pip install 'mahavishnu-pools\[embedded\]'"):
        start(make_settings())


def test_a_part_that_never_comes_up_is_named_with_its_last_words_and_nothing_is_left(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings()

    with pytest.raises(
        errors.StackPartFailed, match=r"'agent'.*exit code 1; it last said: the agent has a bad day"
    ) as caught:
        start(settings, parts=parts_with(BROKEN_AGENT))

    assert caught.value.part == "agent"
    assert not marked(settings)
    assert read_state(settings.data_dir) is None


def test_an_own_redis_that_does_not_answer_is_refused_without_showing_its_password(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings(redis_url=SecretStr(f"redis://:hidden@127.0.0.1:{free_port()}/0"))

    with pytest.raises(errors.RedisUnavailable, match=r"does not answer.*MAHAVISHNU_REDIS_URL") as caught:
        start(settings)

    assert "hidden" not in str(caught.value)
    assert not marked(settings)


def test_a_directory_whose_stack_uses_another_redis_is_refused(
    make_settings: Callable[..., Settings], valkey_server: PrivateValkey
) -> None:
    start(make_settings())

    with pytest.raises(errors.StackPartFailed, match=r"another Redis runs in .*mahavishnu down.*--data-dir"):
        start(make_settings(redis_url=SecretStr(valkey_server.url)))


# ── stopping ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_stopping_lets_the_agent_drain_leaves_no_process_and_keeps_the_data(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings()
    state = start(settings)
    with client(state) as connection:
        connection.set("kept", "yes")

    assert stack.stop(settings.data_dir, drain_seconds=5) is not None

    assert (settings.data_dir / "drained").exists()
    assert not marked(settings)
    assert stack.find_redis_url(settings) is None
    assert stack.stop(settings.data_dir, drain_seconds=5) is None
    again = start(settings)
    assert again.redis_url == state.redis_url
    with client(again) as connection:
        assert connection.get("kept") == "yes"


def test_an_agent_that_does_not_end_is_killed_after_the_drain_time(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    state = start(settings, parts=parts_with(DEAF_AGENT))

    stack.stop(settings.data_dir, drain_seconds=0.2)

    assert not is_alive(process(state, "agent"))
    assert not marked(settings)


def test_a_stack_whose_supervisor_was_killed_is_stopped_with_everything_it_left_behind(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings()
    state = start(settings)
    kill(state.supervisor)
    kill(process(state, "agent"))
    group = identify(int((settings.data_dir / "run" / "group.pid").read_text()))
    assert is_alive(group)

    stack.stop(settings.data_dir, drain_seconds=5)

    assert not is_alive(group)
    assert not marked(settings)


def test_a_directory_that_never_had_a_stack_has_nothing_to_stop(tmp_path: Path) -> None:
    assert stack.stop(tmp_path / "none", drain_seconds=5) is None
    assert not (tmp_path / "none").exists()
