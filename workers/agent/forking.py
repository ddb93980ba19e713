"""Forks a child that shares nothing with its parent but what it is told to keep."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing.util
import os
import random
import signal
import sys
from collections.abc import Callable, Collection

logger = logging.getLogger(__name__)

#: Signals the zygote handles. They are held back around the fork: a child that got one with the zygote's wake-up
#: descriptor still set would wake the zygote instead of itself.
HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


def fork(body: Callable[[], int], *, release: Callable[[], None], keep: Collection[int]) -> int:
    """Run ``body`` in a child with a session of its own and return the child's pid; its result is the exit code.

    ``release`` closes the objects of the parent that own descriptors; then every descriptor but 0–2 and ``keep`` goes.
    """
    held_back = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    pid = -1
    try:
        pid = os.fork()
    finally:
        if pid:
            signal.pthread_sigmask(signal.SIG_SETMASK, held_back)
    if pid:
        return pid
    code = 1
    try:
        _settle(release, keep)
        signal.pthread_sigmask(signal.SIG_SETMASK, held_back)
        code = body()
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    except BaseException:
        # The border of the process: nothing may run on into the frames of the parent.
        logger.exception("A process of the agent failed", extra={"action": "fork"})
    finally:
        leave(code)
    raise AssertionError("unreachable")


def leave(code: int) -> None:
    """End this process at once, after writing out what is logged."""
    try:
        with contextlib.suppress(OSError, ValueError):
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
    finally:
        os._exit(code)


def close_foreign(keep: Collection[int]) -> None:
    """Close every descriptor but 0–2 and those to keep."""
    for name in os.listdir("/dev/fd"):
        fd = int(name)
        if fd > 2 and fd not in keep:
            # The listing itself had one that is closed by now.
            with contextlib.suppress(OSError):
                os.close(fd)


def _settle(release: Callable[[], None], keep: Collection[int]) -> None:
    signal.set_wakeup_fd(-1)
    for number in HANDLED:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    os.setsid()
    release()
    close_foreign(keep)
    random.seed()
    # os.fork does not run these hooks of multiprocessing (billiard shares them) by itself; Celery's app needs them.
    multiprocessing.util._run_after_forkers()  # type: ignore[attr-defined]
