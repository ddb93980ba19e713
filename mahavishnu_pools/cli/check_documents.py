"""What ``check`` prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mahavishnu_pools.cli.formats.interface import Block, Cell, Column, Document, Fields, Note, State, Table

if TYPE_CHECKING:
    from mahavishnu_pools.checks.run import CheckReport, NodeState
    from mahavishnu_pools.store.server_facts import ServerFacts

#: What is shown of one that nobody tried to repair, of one that was repaired, and of one that could not be.
_REPAIRED = {None: "", True: "repaired", False: "not repaired"}


def check_report(report: CheckReport, *, repair: bool) -> Document:
    """Return the document of a check."""
    data = {**report.model_dump(mode="json"), "repair": repair}
    return Document(data, tuple(_blocks(report, repair=repair)))


def _blocks(report: CheckReport, *, repair: bool) -> Iterator[Block]:
    if report.findings:
        columns = ("Level", "Kind", "What", "Why", *(("Repair",) if repair else ()))
        rows = (
            (one.level.value, one.kind, one.subject, one.message, *((_REPAIRED[one.repaired],) if repair else ()))
            for one in report.findings
        )
        yield Table("Found", tuple(Column(title) for title in columns), tuple(rows))
    more = sum(report.found.values()) - len(report.findings)
    if more:
        yield Note(f"… and {more} more of these kinds.")
    yield Fields("Redis", tuple(_server(report.server)))
    for node in report.nodes:
        yield from _node(node)
    yield Fields(None, (("Status", State(report.status)),))
    if any(one.repaired is None for one in report.findings) and not repair:
        yield Note("'mahavishnu check --repair' mends what can be mended.")


def _server(facts: ServerFacts) -> Iterator[tuple[str, Cell]]:
    yield "Version", facts.version
    yield "Persistence", _persistence(facts)
    limit = "no limit" if facts.maxmemory is None else f"{facts.maxmemory >> 20} MiB"
    yield "Memory", f"{(facts.used_memory or 0) >> 20} MiB of {limit}, {facts.maxmemory_policy or 'policy unknown'}"
    yield "Clients", f"{facts.clients} of {facts.maxclients}"


def _persistence(facts: ServerFacts) -> str | None:
    if facts.append_only:
        return f"append-only file, appendfsync {facts.appendfsync or 'unknown'}"
    if facts.append_only is None:
        return None
    return "snapshots" if facts.snapshots else "none"


def _node(node: NodeState) -> Iterator[Block]:
    report = node.report
    if report is None:
        yield Fields(f"Node {node.name}", (("Status", State("running" if node.alive else "failed")),))
        return
    limits = report.limits
    yield Fields(
        f"Node {node.name}",
        (
            ("Clock", f"{report.clock_skew:+.3f} s"),
            ("Open files", limits.open_files),
            ("Processes", limits.processes),
            ("Pids", None if limits.pids_max is None else f"{limits.pids_now} of {limits.pids_max}"),
            ("PATH", report.path),
        ),
    )
    rows = tuple(
        (
            one.worker_type,
            one.program,
            one.path,
            one.version,
            one.problem or one.logged_out or _login(one.login, one.login_sign),
        )
        for one in report.programs
    )
    titles = ("Worker type", "Program", "Path", "Version", "Login or problem")
    yield Table(f"Programs of {node.name}", tuple(Column(title) for title in titles), rows)


def _login(login: bool | None, sign: str | None) -> Cell:
    return sign if login else None if login is None else "no sign"
