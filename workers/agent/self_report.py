"""What this node says of itself when a check asks: its clock, its limits, the programs as this process sees them."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.node_report import NodeLimits, NodeReport, ProgramReport
from mahavishnu_pools.store.node_reports import answer, server_clock
from mahavishnu_pools.worker_types import WorkerType, find_program

from .context import AgentContext
from .engines import find_engine

logger = logging.getLogger(__name__)

#: A program that takes longer than this many seconds to tell its version does not tell it.
VERSION_SECONDS = 5.0

#: What a version is cut to, in characters.
_LONGEST_VERSION = 80

_CGROUPS = Path("/sys/fs/cgroup")


class SelfReport:
    """Answers each question once."""

    def __init__(self, context: AgentContext) -> None:
        self._context = context
        self._answered = ""
        self._answering: asyncio.Task[None] | None = None

    def asked(self, request: str) -> None:
        """Answer a question, unless it was answered or is being answered."""
        if request and request != self._answered:
            self._answered = request
            self._answering = asyncio.create_task(self._try_to_answer(request), name="self-report")

    async def _try_to_answer(self, request: str) -> None:
        try:
            await self._answer(request)
        except errors.RedisUnavailable as exc:
            logger.debug("A check gets no answer: %s", exc)

    async def _answer(self, request: str) -> None:
        run, facts = self._context.store.run, self._context.facts
        before = time.time()
        server = await run(server_clock())
        skew = (before + time.time()) / 2 - server
        programs = await asyncio.gather(*(asyncio.to_thread(look_at, kind) for kind in facts.worker_types()))
        report = NodeReport(
            request=request,
            node=facts.name,
            clock_skew=round(skew, 3),
            path=os.environ.get("PATH", ""),
            limits=limits(),
            programs=tuple(_with_login(one, facts.logged_out) for one in programs),
        )
        await run(answer(report))


def look_at(kind: WorkerType) -> ProgramReport:
    """Look for a worker type's program, its version and signs of a login."""
    path, problem = (find_program(kind), None) if kind.container is None else find_engine(kind, os.environ)
    login, sign = _login(kind)
    return ProgramReport(
        worker_type=kind.name,
        program=kind.needs,
        path=path,
        # One that did not answer may not say its version in time either.
        version=_version(path) if path and not problem and (kind.ai or kind.container) else None,
        problem=problem,
        login=login,
        login_sign=sign,
    )


def _with_login(report: ProgramReport, logged_out: Mapping[str, str]) -> ProgramReport:
    return report.model_copy(update={"logged_out": logged_out.get(report.worker_type)})


def limits() -> NodeLimits:
    """Read the limits that hold for this process and its children."""
    files, processes = (
        _number(resource.getrlimit(which)[0]) for which in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC)
    )
    found = [pair for pair in map(_pids, _own_groups()) if pair is not None]
    lowest = min(found, default=None, key=lambda pair: pair[0] - pair[1])
    return NodeLimits(
        open_files=files,
        processes=processes,
        pids_max=lowest[0] if lowest else None,
        pids_now=lowest[1] if lowest else None,
    )


def _number(limit: int) -> int | None:
    return None if limit == resource.RLIM_INFINITY else limit


def _own_groups() -> Iterator[Path]:
    """Yield the control groups this process is in, from its own to the root (versions 2 and 1)."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if controllers not in ("", "pids"):
            continue
        base = _CGROUPS / controllers
        group = base / place.lstrip("/")
        yield from (one for one in (group, *group.parents) if one == base or base in one.parents)


def _pids(group: Path) -> tuple[int, int] | None:
    try:
        limit = (group / "pids.max").read_text().strip()
        return None if limit == "max" else (int(limit), int((group / "pids.current").read_text()))
    except (OSError, ValueError):
        return None


def _version(path: str) -> str | None:
    try:
        done = subprocess.run(
            [path, "--version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=VERSION_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        logger.debug("%s does not tell its version: %s", path, exc)
        return None
    lines = done.stdout.decode(errors="replace").splitlines()
    return lines[0].strip()[:_LONGEST_VERSION] if done.returncode == 0 and lines else None


def _login(kind: WorkerType) -> tuple[bool | None, str | None]:
    """Tell whether there is a sign of a login, and which; variables' values stay here."""
    for sign in kind.login:
        there = Path(sign).expanduser().is_file() if sign.startswith(("/", "~")) else bool(os.environ.get(sign))
        if there:
            return True, sign
    return (False, None) if kind.login else (None, None)
