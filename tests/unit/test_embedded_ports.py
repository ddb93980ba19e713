"""Which ports the parts of a stack get: none twice, and those of the last start where they are free."""

from __future__ import annotations

import itertools
import json
import socket
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mahavishnu_pools.embedded import ports
from mahavishnu_pools.embedded.data_dir import DataDir
from mahavishnu_pools.embedded.part_run import PartRun
from mahavishnu_pools.embedded.parts import PARTS

NAMES = ("session-buddy", "akosha", "server", "flower")


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    found = DataDir.at(tmp_path / "data")
    found.create()
    return found


def given(data: DataDir) -> dict[str, int]:
    """Return the ports that the servers of a stack in this directory get."""
    runs = [PartRun(replace(part, port=0), data=data) for part in PARTS if part.name in NAMES]
    for held in ports.give_ports(runs, None, file=data.ports_file):
        held.close()
    return {run.part.name: urlsplit(run.url or "").port or 0 for run in runs}


def test_no_two_parts_get_the_same_free_port(data: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = itertools.chain.from_iterable((number, number) for number in itertools.count(ports.FIRST))
    monkeypatch.setattr("mahavishnu_pools.embedded.ports.random.randint", lambda *_: next(numbers))

    found = given(data)

    assert sorted(found) == sorted(NAMES)
    assert len({*found.values()}) == len(NAMES)


def test_the_next_start_gets_the_same_ports_but_those_somebody_took(data: DataDir) -> None:
    first = given(data)

    assert given(data) == first
    with socket.create_server(("127.0.0.1", first["server"])):
        second = given(data)

    assert second["server"] != first["server"]
    assert {**second, "server": None} == {**first, "server": None}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere two sockets cannot share a port")
def test_stacks_that_start_at_once_choose_different_ports_and_their_servers_can_listen_there(
    data: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [ports.choose_port() for _ in range(2)]
    monkeypatch.setattr("mahavishnu_pools.embedded.ports.random.randint", lambda *_: free[0])
    mine = PartRun(replace(next(part for part in PARTS if part.name == "server"), port=0), data=data)
    [held] = ports.give_ports([mine], None, file=data.ports_file)
    assert urlsplit(mine.url or "").port == free[0]

    with held:
        assert ports.choose_port() != free[0]
        for _ in range(2):  # a server is started again, too
            with (
                socket.create_server(("127.0.0.1", free[0])) as server,
                socket.create_connection(server.getsockname()),
            ):
                assert server.accept()[0].close() is None


@pytest.mark.parametrize("text", ["", "[1]", "{", json.dumps({"server": "x"})])
def test_a_file_that_is_not_ours_is_passed_over(data: DataDir, text: str) -> None:
    data.ports_file.write_text(text)

    assert all(given(data).values())
