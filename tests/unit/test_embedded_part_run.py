"""What a supervisor says of a part that was started and has not answered yet, or does not."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mahavishnu_pools.embedded.data_dir import DataDir
from mahavishnu_pools.embedded.part_run import START_SECONDS, PartRun
from mahavishnu_pools.embedded.parts import LOOPBACK, PORT, REDIS, Part, Ready
from mahavishnu_pools.embedded.state import PartState, PartStatus
from tests.waiting import eventually

SLEEP = (sys.executable, "-c", "import time; time.sleep(600)")


@pytest.fixture
def port() -> Iterator[socket.socket]:
    """Yield a socket whose port is taken but refuses connections until it listens."""
    with socket.socket() as found:
        found.bind((LOOPBACK, 0))
        yield found


@pytest.fixture(params=[Ready.HTTP, Ready.PING])
def run(request: pytest.FixtureRequest, port: socket.socket, tmp_path: Path) -> Iterator[PartRun]:
    """Yield a part that was just started and says nothing."""
    data = DataDir.at(tmp_path / "data")
    data.create()
    name = REDIS if request.param is Ready.PING else "server"
    found = PartRun(Part(name, SLEEP, ready=request.param, url=f"http://{LOOPBACK}:{PORT}/", port=0), data=data)
    found.listens_on(port.getsockname()[1])
    found.start(env=os.environ, now=time.monotonic())
    assert found.process is not None
    yield found
    if found.process is not None:
        os.kill(found.process.pid, signal.SIGKILL)
        eventually(lambda: looked(found, port).status is PartStatus.RESTARTING, within=30)


def looked(run: PartRun, port: socket.socket, *, later: float = 0.0) -> PartState:
    """Return the part as it is seen so many seconds later."""
    run.poll(redis_url=f"redis://{LOOPBACK}:{port.getsockname()[1]}/0", now=time.monotonic() + later)
    return run.state()


def answer_once(port: socket.socket) -> None:
    port.listen()
    connection, _ = port.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")


def test_a_part_that_was_just_started_is_starting_and_only_later_one_that_does_not_answer(
    run: PartRun, port: socket.socket
) -> None:
    young, late = looked(run, port), looked(run, port, later=START_SECONDS)

    assert (young.status, young.reason) == (PartStatus.STARTING, "has not reported ready yet")
    assert "does not answer" in (late.reason or "")


@pytest.mark.parametrize("run", [Ready.HTTP], indirect=True)
def test_a_part_that_never_answered_is_not_well_and_is_again_when_it_answers(run: PartRun, port: socket.socket) -> None:
    late = looked(run, port, later=START_SECONDS)
    answering = threading.Thread(target=answer_once, args=(port,))
    answering.start()
    try:
        eventually(lambda: looked(run, port, later=START_SECONDS).status is PartStatus.RUNNING, within=30)
    finally:
        answering.join()

    assert late.status is PartStatus.UNREACHABLE
    assert not late.is_well
    assert run.state().reason is None
