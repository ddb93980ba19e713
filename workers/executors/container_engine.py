"""Talks to the container engine of this machine through docker or podman: chooses one, finds and removes containers.

Every call has a deadline: an engine that does not answer must not hold up a worker or an agent.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mahavishnu_pools import errors
from mahavishnu_pools.worker_types import CONTAINER, CONTAINER_PROGRAMS, WorkerType

from .cli_output import cause_of
from .container_argv import find_argv, kill_argv, probe_argv, remove_argv
from .environment import pass_list
from .interface import Refused

logger = logging.getLogger(__name__)

#: Deadline of a call that asks or removes, in seconds.
CALL_SECONDS = 5.0

#: How long an engine is believed to answer, or not to, where there are two, in seconds.
_BELIEVED_SECONDS = 30.0

#: Variables that docker and podman themselves need: where the engine is, where images come from.
ENGINE_ENV = (
    "DOCKER_*", "CONTAINER_*", "CONTAINERS_*", "PODMAN_*", "STORAGE_*", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS", "SSH_AUTH_SOCK", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip

#: What docker and podman say when nobody answers them.
_UNREACHABLE = re.compile(
    r"(?i)cannot connect to (the docker daemon|podman)|error during connect|unable to connect to podman"
    r"|failed to connect to the docker api|is the docker daemon running"
)
_FORBIDDEN = re.compile(r"(?i)permission denied while trying to connect")
_GONE = re.compile(r"(?i)no such container|no container with")

#: A line in which the program itself speaks, rather than what runs in the container.
_OWN_LINE = re.compile(r"^(docker: |podman: |Error: |Error response from daemon|error during connect|Cannot connect )")


class EngineSilent(Exception):
    """The engine could not be asked; the message is what its program said."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One of the programs, with the environment it is called with."""

    program: str
    env: Mapping[str, str] = field(repr=False)

    @property
    def name(self) -> str:
        """Return the program's name."""
        return os.path.basename(self.program)

    def find(self, labels: Mapping[str, str]) -> list[str]:
        """Return the ids of the containers with these labels, running or not.

        Raises:
            EngineSilent: it could not be asked.
        """
        return self._call(find_argv(self.program, labels)).split()

    def remove(self, names: Sequence[str]) -> None:
        """Kill and remove containers, whether they run, have ended or are gone.

        Raises:
            EngineSilent: it could not be asked, or would not.
        """
        self._call(kill_argv(self.program, names), may_fail=True)
        self._call(remove_argv(self.program, names))

    def probe(self, *, seconds: float = CALL_SECONDS) -> None:
        """Make sure that the engine answers within so many seconds.

        Raises:
            EngineSilent: it does not.
        """
        self._call(probe_argv(self.program), seconds=seconds)

    def _call(self, argv: Sequence[str], *, may_fail: bool = False, seconds: float = CALL_SECONDS) -> str:
        try:
            done = subprocess.run(
                argv,
                env=dict(self.env),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            raise EngineSilent(f"it did not answer within {seconds:g} s") from exc
        except OSError as exc:
            raise EngineSilent(f"it cannot be started ({exc.strerror})") from exc
        said = done.stderr.decode("utf-8", "replace").strip()
        if done.returncode != 0 and not may_fail and not _GONE.search(said):
            raise EngineSilent(said.splitlines()[-1] if said else f"it ended with code {done.returncode}")
        return done.stdout.decode("utf-8", "replace")


def engines_here(env: Mapping[str, str]) -> list[Engine]:
    """Return every engine whose program is on the PATH of this environment."""
    own = pass_list(env, extra=ENGINE_ENV)
    found = (shutil.which(name, path=env.get("PATH") or os.defpath) for name in CONTAINER_PROGRAMS)
    return [Engine(program, own) for program in found if program is not None]


def engines_of(worker_type: WorkerType, env: Mapping[str, str]) -> list[Engine]:
    """Return the engines that may run the containers of a worker type and are on the PATH, the preferred one first."""
    path = env.get("PATH") or os.defpath
    own = pass_list(env, extra=ENGINE_ENV)
    return [Engine(found, own) for name in worker_type.programs if (found := shutil.which(name, path=path))]


def choose_engine(worker_type: WorkerType, env: Mapping[str, str]) -> Engine:
    """Return the engine for a container: the only one there is, else the first that answers.

    Raises:
        MissingProgram: neither docker nor podman (or not the one the worker type names) is on PATH.
    """
    engines = engines_of(worker_type, env)
    if not engines:
        raise errors.MissingProgram.of(worker_type.name or CONTAINER, worker_type.needs, worker_type.install)
    # With all silent, the error of the preferred one is what people should read.
    return next((engine for engine in engines if len(engines) == 1 or _answers(engine)), engines[0])


def _answers(engine: Engine) -> bool:
    now = int(time.monotonic() / _BELIEVED_SECONDS)
    return _answered(engine.program, tuple(sorted(engine.env.items())), now)


@functools.lru_cache(maxsize=16)
def _answered(program: str, env: tuple[tuple[str, str], ...], now: int) -> bool:
    """Tell whether an engine answers; asked once in a while, for every caller."""
    engine = Engine(program, dict(env))
    try:
        engine.probe()
    except EngineSilent as exc:
        logger.info("%s is installed here, but does not answer: %s", engine.name, exc)
        return False
    return True


def last_word(stderr: str) -> str | None:
    """Return the last line in which docker or podman itself speaks, or None when all is from the container."""
    own = [line.strip() for line in stderr.splitlines() if _OWN_LINE.match(line)]
    return own[-1] if own else None


def refusal(engine: Engine, said: str) -> Refused:
    """Return the reason why no container was started, for what docker or podman said."""
    if _FORBIDDEN.search(said):
        return Refused(f"{engine.name}: the agent's user may not use it ({said}). Add the user to its group.")
    if _UNREACHABLE.search(said):
        return Refused(
            f"{engine.name} is installed here, but its engine does not answer ({said}). Start it, or install podman, "
            "which needs none.",
            retryable="connection",
        )
    return Refused(f"{engine.name} could not run the container: {said}", retryable=cause_of(said))
