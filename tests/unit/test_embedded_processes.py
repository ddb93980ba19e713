"""Telling processes apart, and ending exactly those that are meant."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mahavishnu_pools.embedded.identity import ProcessId, identify, is_alive, send_signal
from mahavishnu_pools.embedded.parts import STACK_VARIABLE
from mahavishnu_pools.embedded.stopping import Ending, end_in_order, end_leftovers
from tests.waiting import eventually

SLEEP = "import time; time.sleep(600)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", SLEEP])
    yield process
    process.kill()
    process.wait()


def identity_of(process: subprocess.Popen[bytes]) -> ProcessId:
    found = identify(process.pid)
    assert found is not None
    return found


def test_a_living_process_is_known_by_pid_and_birth(child: subprocess.Popen[bytes]) -> None:
    identity = identity_of(child)

    assert identity.pid == child.pid
    assert is_alive(identity)


def test_a_zombie_is_not_alive(child: subprocess.Popen[bytes]) -> None:
    identity = identity_of(child)

    child.kill()

    eventually(lambda: not is_alive(identity))


def test_a_reused_pid_is_never_taken_for_the_process_that_had_it_before(child: subprocess.Popen[bytes]) -> None:
    earlier = replace(identity_of(child), born="1-earlier")

    assert not is_alive(earlier)
    assert not send_signal(earlier, signal.SIGKILL)
    end_in_order([Ending("part", earlier, 0.0)])
    assert child.poll() is None


def test_a_process_that_ignores_term_is_killed_with_its_descendants_after_the_deadline(tmp_path: Path) -> None:
    note = tmp_path / "grandchild"
    program = (
        "import subprocess, sys, pathlib\n"
        f"child = subprocess.Popen([sys.executable, '-c', {SLEEP!r}], start_new_session=True)\n"
        f"pathlib.Path({str(note)!r}).write_text(str(child.pid))\n"
        f"{DEAF}"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process, process.stdout as said:
        assert said.readline() == b"deaf\n"
        grandchild = identify(int(note.read_text()))

        end_in_order([Ending("deaf", identity_of(process), 0.1)])

        assert process.wait(30) == -signal.SIGKILL
    assert not is_alive(grandchild)


def test_a_frozen_process_still_ends_by_term(child: subprocess.Popen[bytes]) -> None:
    child.send_signal(signal.SIGSTOP)

    end_in_order([Ending("frozen", identity_of(child), 5.0)])

    assert child.wait(30) == -signal.SIGTERM


def test_leftovers_of_one_data_directory_are_ended_and_those_of_another_are_not(tmp_path: Path) -> None:
    def start(mark: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", SLEEP], env={**os.environ, STACK_VARIABLE: str(mark)})

    with start(tmp_path / "a") as ours, start(tmp_path / "b") as other:
        try:
            assert end_leftovers(tmp_path / "a") == 1
            assert ours.wait(30) == -signal.SIGTERM
            assert other.poll() is None
        finally:
            other.kill()
