"""A worker group in a program of its own, where forking is not safe (macOS). The start data come on standard input."""

from __future__ import annotations

import os
import sys

from mahavishnu_pools.process_logs import set_up_logging

from .forking import leave
from .group_process import load_function, run_group_process
from .start import GroupStart
from .ticks import Ticks


def main(arguments: list[str]) -> int:
    """Run a group; the arguments are its function, slot, and the descriptors for news and ticks."""
    function, slot, news_fd, ticks_fd = arguments[0], *map(int, arguments[1:])
    set_up_logging()
    start = GroupStart.from_json(sys.stdin.read())
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.set_inheritable(news_fd, False)
    os.set_inheritable(ticks_fd, False)
    return run_group_process(
        lambda: load_function(function), start, slot=slot, ticks=Ticks.attach(ticks_fd), news_fd=news_fd
    )


if __name__ == "__main__":
    os.setsid()
    leave(main(sys.argv[1:]))
