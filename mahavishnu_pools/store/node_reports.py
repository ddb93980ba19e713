"""Calls with which a check asks every agent how it is, and gets the answers."""

from __future__ import annotations

from mahavishnu_pools.schemas.node_report import NodeReport
from mahavishnu_pools.store.calls import Call

#: Seconds a question and its answers are kept.
KEPT = 60


def ask_nodes(request: str) -> Call[bool]:
    """Ask every agent; it sees the question with its next beat. ``request`` is new for each question."""
    return Call("node_ask", (request, KEPT), bool)


def answer(report: NodeReport) -> Call[bool]:
    """Answer the question named in the report."""
    return Call("node_answer", (report.node, report.model_dump_json(), KEPT), bool)


def read_answers(request: str) -> Call[dict[str, NodeReport]]:
    """Read the answers that are there, by node."""

    def parse(reply: list[str]) -> dict[str, NodeReport]:
        found = (NodeReport.model_validate_json(text, extra="ignore") for text in reply)
        return {report.node: report for report in found if report.request == request}

    return Call("node_answers", (), parse)


def server_clock() -> Call[float]:
    """Read the server's clock: seconds since the epoch."""
    return Call("server_clock", (), float)
