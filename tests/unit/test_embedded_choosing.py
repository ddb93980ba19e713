"""Which servers a stack starts beside its core, by settings, installed packages and what is on their ports."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.embedded import choosing
from mahavishnu_pools.embedded.parts import PARTS, Absent, Part
from mahavishnu_pools.settings import Settings, load_settings

AKOSHA = tuple(part for part in PARTS if part.name == "akosha")


def chosen(data_dir: Path, **values: object) -> Part | Absent | None:
    """Return what becomes of Akosha."""
    started, absent = choosing.choose(AKOSHA, Settings(data_dir=data_dir, **values), earlier=None)  # type: ignore[arg-type]
    return next(iter((*started, *absent)), None)


def started_on(found: Part | Absent | None) -> int | None:
    assert isinstance(found, Part)
    return found.port


@pytest.fixture
def own_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a directory that counts as that of the user's own stack."""
    monkeypatch.setattr(choosing, "user_data_dir", lambda: tmp_path)
    return tmp_path


@pytest.fixture
def web_server() -> Iterator[int]:
    """Return the port of a web server that knows no page."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def the_standard_port_is(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settings.model_fields["akosha_url"], "default", f"http://localhost:{port}/mcp")


def test_a_stack_beside_the_users_own_takes_any_free_port(tmp_path: Path) -> None:
    assert started_on(chosen(tmp_path)) == 0


def test_the_users_own_stack_takes_the_standard_port(own_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "port_is_free", lambda _port: True)

    assert started_on(chosen(own_directory)) == 8682


def test_it_is_not_started_when_it_is_off(tmp_path: Path) -> None:
    assert chosen(tmp_path, embedded_akosha="off") is None


@pytest.mark.parametrize(
    "url", ["http://akosha.example:8682/mcp", "http://localhost:9999/mcp", "https://localhost:8682/mcp"]
)
def test_a_url_that_names_another_place_is_left_to_that(tmp_path: Path, url: str) -> None:
    assert chosen(tmp_path, akosha_url=url) == Absent("akosha", external=True, url=url, reason=None)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_port_0_of_a_configured_url_is_any_free_one(own_directory: Path, host: str) -> None:
    assert started_on(chosen(own_directory, akosha_url=f"http://{host}:0/mcp")) == 0


def test_on_takes_the_port_of_the_url(tmp_path: Path) -> None:
    assert started_on(chosen(tmp_path, embedded_akosha="on", akosha_url="http://127.0.0.1:28999/mcp")) == 28999


def test_on_with_a_url_on_another_machine_is_a_contradiction(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidConfig, match=r"embedded_akosha is on, but akosha_url names http://else"):
        chosen(tmp_path, embedded_akosha="on", akosha_url="http://elsewhere:8682/mcp")


def test_what_answers_on_the_standard_port_is_used(
    own_directory: Path, web_server: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    the_standard_port_is(web_server, monkeypatch)

    found = chosen(own_directory)

    assert isinstance(found, Absent)
    assert (found.external, found.url) == (True, f"http://127.0.0.1:{web_server}/mcp")


def test_a_port_in_use_by_something_else_is_named_with_the_remedy(
    own_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "LOOK_TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        the_standard_port_is(port, monkeypatch)

        found = chosen(own_directory)

        assert isinstance(found, Absent)
        assert not found.external
        assert f"port {port} is in use by another program" in str(found.reason)
        with pytest.raises(errors.StackPartFailed, match=rf"'akosha'.*port {port} is in use.*MAHAVISHNU_AKOSHA_URL"):
            chosen(own_directory, embedded_akosha="on")


def test_missing_packages_are_named_with_their_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "find_spec", lambda _name: None)

    found = chosen(tmp_path)

    assert isinstance(found, Absent)
    assert "pip install 'mahavishnu-pools[mcp]'" in str(found.reason)
    with pytest.raises(errors.Unavailable, match=r"embedded_akosha is on.*mahavishnu-pools\[mcp\]"):
        chosen(tmp_path, embedded_akosha="on")


@pytest.mark.parametrize(("written", "meant"), [("off", "off"), ("on", "on"), ("auto", "auto"), ("'off'", "off")])
def test_a_bare_on_or_off_in_the_settings_file_is_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, meant: str
) -> None:
    (tmp_path / "settings.yaml").write_text(f"embedded_akosha: {written}\n")
    monkeypatch.setenv("MAHAVISHNU_SETTINGS_FILE", str(tmp_path / "settings.yaml"))

    assert load_settings().embedded_akosha == meant
