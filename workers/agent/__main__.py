"""``python -m mahavishnu_workers.agent``: run the node agent of this machine until it is told to stop."""

from __future__ import annotations

import argparse
import fcntl
import functools
import os
import sys
import time
from collections.abc import Sequence

import psutil

from mahavishnu_pools import errors
from mahavishnu_pools.process_logs import set_up_logging
from mahavishnu_pools.redis_url import check_url
from mahavishnu_pools.settings import Settings, load_settings

from .controller import BAD_SETTINGS, NO_REDIS, run_controller
from .group_process import DEFAULT_FUNCTION
from .node import AgentIdentity, agent_id_of
from .spawning import starts_by_exec
from .warmup import warm_up
from .zygote import Zygote, become_subreaper

#: How long the last life of this agent may take to clean up after itself, in seconds.
LOCK_SECONDS = 15.0

#: How long an agent that holds the lock must be seen alive to be taken for running, in seconds: one that was killed a
#: moment ago may still be there.
ALIVE_SECONDS = 0.5

_LOCK_POLL = 0.05


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the agent and return its exit code: 0 stopped, 2 bad settings, 4 no usable Redis."""
    parser = argparse.ArgumentParser(prog="mahavishnu agent", description="Run worker groups on this machine.")
    group_help = "what a worker group runs (default: %(default)s)"
    parser.add_argument("--group", default=DEFAULT_FUNCTION, metavar="MODULE:FUNCTION", help=group_help)
    function = parser.parse_args(arguments).group
    set_up_logging()
    try:
        settings = load_settings()
        return _run(settings, _redis_url(settings), function)
    except errors.Unavailable as exc:
        sys.stderr.write(f"{exc.message}\n")
        return NO_REDIS
    except errors.MahavishnuError as exc:
        sys.stderr.write(f"{exc.message}\n")
        return BAD_SETTINGS


def _redis_url(settings: Settings) -> str:
    if settings.redis_url is None:
        raise errors.StackNotRunning
    return check_url(settings.redis_url.get_secret_value())


def _run(settings: Settings, redis_url: str, function: str) -> int:
    lock = _lock(settings)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    become_subreaper()
    warm_up(function)
    me = AgentIdentity(os.getpid(), started=psutil.Process().create_time(), agent_id=agent_id_of(settings))
    run = functools.partial(run_controller, settings=settings, redis_url=redis_url, me=me)
    return Zygote(run, function, by_exec=starts_by_exec(), kept=(lock,)).run()


def _lock(settings: Settings) -> int:
    """Take the lock of the data directory and return its descriptor; the controller holds it too, to its very end."""
    path = settings.data_dir / "run" / "agent.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as exc:
        raise errors.InvalidConfig(
            f"data_dir: {settings.data_dir} cannot be written ({exc.strerror}). "
            "Name another one in MAHAVISHNU_DATA_DIR.",
            setting="data_dir",
        ) from exc
    began = time.monotonic()
    while not _try_lock(fd):
        # Of an agent whose first process was killed, the controller lives on until it has cleaned up.
        if time.monotonic() - began > (ALIVE_SECONDS if _holder_lives(fd) else LOCK_SECONDS):
            raise errors.InvalidConfig(
                f"data_dir: another agent is running with {settings.data_dir}. Stop it, or name another directory in "
                "MAHAVISHNU_DATA_DIR.",
                setting="data_dir",
            )
        time.sleep(_LOCK_POLL)
    os.pwrite(fd, f"{os.getpid():<20}\n".encode(), 0)
    return fd


def _holder_lives(fd: int) -> bool:
    try:
        return psutil.Process(int(os.pread(fd, 64, 0))).status() != psutil.STATUS_ZOMBIE
    except (ValueError, psutil.Error):
        return False


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
