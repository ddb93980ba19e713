"""Ctrl-C: while the program is loaded it ends in a line; of tasks on their way nothing that arrives is forgotten."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from mahavishnu_pools.cli.sending import sent_whole


async def test_what_arrives_after_the_interruption_is_known_to_who_takes_it_back() -> None:
    begun, arrived, taken_back = asyncio.Event(), asyncio.Event(), list[str]()

    async def sending() -> str:
        begun.set()
        await arrived.wait()
        return "batch"

    async def interrupted(sent: str) -> None:
        taken_back.append(sent)

    waiting = asyncio.create_task(sent_whole(sending(), interrupted=interrupted))
    await begun.wait()
    waiting.cancel()
    arrived.set()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert taken_back == ["batch"]


async def test_what_never_arrived_is_not_taken_back() -> None:
    begun, refused = asyncio.Event(), asyncio.Event()

    async def sending() -> str:
        begun.set()
        await refused.wait()
        raise OSError("away")

    async def interrupted(sent: str) -> None:
        raise AssertionError(f"{sent} was never there")

    waiting = asyncio.create_task(sent_whole(sending(), interrupted=interrupted))
    await begun.wait()
    waiting.cancel()
    refused.set()

    with pytest.raises(asyncio.CancelledError):
        await waiting


#: Sends itself Ctrl-C in the middle of an import of the program, and at the very end of it.
_LOADING = """
import os, signal, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Watch())
sys.argv = ["mahavishnu", "--version"]
from mahavishnu_pools.cli.entry import main
code = main()
os.kill(os.getpid(), signal.SIGINT)
sys.exit(code)
"""


@pytest.mark.parametrize("module", ["click", "mahavishnu_pools.cli.session", "none of them"])
def test_ctrl_c_while_the_program_is_loaded_or_leaves_ends_it_with_130_and_no_traceback(module: str) -> None:
    source = _LOADING.replace("sys.argv[1]", repr(module))
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (130, "Interrupted.\n")


def test_who_is_to_ignore_ctrl_c_does_so_while_it_is_loaded() -> None:
    source = _LOADING.replace("sys.argv[1]", repr("click"))
    ignoring = ("sh", "-c", 'trap "" INT; exec "$@"', "sh")
    done = subprocess.run([*ignoring, sys.executable, "-c", source], capture_output=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (0, b"")
