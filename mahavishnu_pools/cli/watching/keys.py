"""Reads single keys from the terminal, which is left as it was."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import termios
import tty
from collections.abc import Iterator

#: What terminals send for keys that have no character.
_SEQUENCES = {b"\x1b[A": "up", b"\x1b[B": "down", b"\x1bOA": "up", b"\x1bOB": "down"}


@contextlib.contextmanager
def keys() -> Iterator[asyncio.Queue[str]]:
    """Yield a queue of the keys that are pressed while the block runs; nothing comes where input is no terminal."""
    pressed: asyncio.Queue[str] = asyncio.Queue()
    if not sys.stdin.isatty():
        yield pressed
        return
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    loop = asyncio.get_running_loop()

    def read() -> None:
        for key in decoded(os.read(fd, 64)):
            pressed.put_nowait(key)

    tty.setcbreak(fd)
    loop.add_reader(fd, read)
    try:
        yield pressed
    finally:
        loop.remove_reader(fd)
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def decoded(data: bytes) -> list[str]:
    """Return the keys that some bytes stand for: names for arrows, else the characters."""
    found: list[str] = []
    while data:
        name = _SEQUENCES.get(data[:3])
        if name is not None:
            found.append(name)
            data = data[3:]
        else:
            if data[0] != 0x1B:
                found.append(chr(data[0]))
            data = data[1:]
    return found
