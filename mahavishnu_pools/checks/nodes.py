"""Asks every agent how it is, and holds its limits against the workers it was promised for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence

from mahavishnu_pools.checks.findings import Found, Site, fault, note
from mahavishnu_pools.checks.server import odd_clock
from mahavishnu_pools.schemas.node_report import NodeReport
from mahavishnu_pools.store.node_reports import ask_nodes, read_answers, server_clock
from mahavishnu_pools.store.pools import NodeInfo, PoolRecord

#: Seconds an agent gets to answer besides two of its beats: programs may be slow to tell their version.
PATIENCE = 7.0

#: Seconds between two looks for answers.
_PAUSE = 0.05

#: What one worker takes: a thread, its program and a child of it; a running program's pipes and files. What a group
#: takes besides.
PIDS_PER_WORKER, PIDS_PER_GROUP = 3, 15
FILES_PER_WORKER, FILES_PER_GROUP = 6, 80


async def ask(site: Site, nodes: Sequence[NodeInfo]) -> dict[str, NodeReport]:
    """Ask nodes; returns the answers of those that gave one in time.

    Raises:
        RedisDiskFull: the server takes no changes, so nobody can be asked.
    """
    living = {node.name for node in nodes if node.alive}
    request = await site.store.run(ask_nodes())
    deadline = time.monotonic() + 2 * site.settings.node_heartbeat + PATIENCE
    answers: dict[str, NodeReport] = {}
    while living - answers.keys() and time.monotonic() < deadline:
        await asyncio.sleep(_PAUSE)
        answers = await site.store.run(read_answers(request))
    return answers


async def own_skew(site: Site) -> float:
    """Return this machine's clock minus the server's, in seconds."""
    before = time.time()
    server = await site.store.run(server_clock())
    return round((before + time.time()) / 2 - server, 3)


def odd_nodes(
    nodes: Sequence[NodeInfo], answers: dict[str, NodeReport], pools: Sequence[PoolRecord]
) -> Iterator[Found]:
    """Find nodes that do not answer, clocks that are wrong, and limits too low for the workers of a node's pools."""
    if pools and not any(node.alive for node in nodes):
        yield fault("no_agent", "nodes", "No agent is running, so no task runs. Start one with 'mahavishnu up'.")
    for node in nodes:
        report = answers.get(node.name)
        if not node.alive:
            yield note("node_lost", node.name, "It has been silent for longer than node_lost_after.")
        elif report is None:
            yield fault("node_mute", node.name, "Its agent beats, but did not answer the question how it is.")
        else:
            yield from odd_clock(f"node {node.name}", report.clock_skew)
            yield from odd_limits(report, [pool for pool in pools if node.name in pool.nodes])
            yield from _programs(report, [pool for pool in pools if node.name in pool.nodes])


def odd_limits(report: NodeReport, pools: Sequence[PoolRecord]) -> Iterator[Found]:
    """Find limits of a node that are too low for the most workers its pools may have."""
    limits = report.limits
    workers = sum(pool.config.max_workers for pool in pools)
    largest = max((pool.config.max_workers for pool in pools), default=0)
    pids = PIDS_PER_WORKER * workers + PIDS_PER_GROUP * len(pools)
    files = FILES_PER_WORKER * largest + FILES_PER_GROUP
    if limits.open_files is not None and limits.open_files < files:
        text = f"A pool of {largest} workers takes up to {files} open files. Raise it with ulimit -n (LimitNOFILE)."
        yield fault("limit_files", f"{report.node}: ulimit -n {limits.open_files}", text)
    if limits.processes is not None and limits.processes < pids:
        text = f"Its {workers} workers take up to {pids} processes and threads. Raise it with ulimit -u (LimitNPROC)."
        yield fault("limit_processes", f"{report.node}: ulimit -u {limits.processes}", text)
    if limits.pids_max is not None and limits.pids_max < pids:
        text = (
            f"Its {workers} workers take up to {pids} processes and threads. Raise TasksMax or the container's limit."
        )
        yield fault("limit_pids", f"{report.node}: pids.max {limits.pids_max}", text)


def _programs(report: NodeReport, pools: Sequence[PoolRecord]) -> Iterator[Found]:
    used = {pool.worker_type for pool in pools}
    for program in report.programs:
        if program.worker_type not in used:
            continue
        subject = f"{report.node}: {program.worker_type}"
        if program.path is None:
            yield fault("program_missing", subject, f"{program.program} is not on the PATH of its agent.")
        elif program.problem is not None:
            yield fault("program_silent", subject, f"No task of it is taken until it answers: {program.problem}")
        elif program.logged_out is not None:
            yield fault("program_logged_out", subject, f"Its prompts wait for a login. {program.logged_out}")
        elif program.login is False:
            text = f"No sign of a login was found for {program.program}. Its prompts may be refused."
            yield note("program_login", subject, text)
