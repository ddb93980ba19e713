"""Calls with which a check asks every agent how it is, and gets the answers."""

from __future__ import annotations

from mahavishnu_pools.schemas.node_report import NodeReport
from mahavishnu_pools.store.calls import Call

#: Seconds a question and its answers are kept.
KEPT = 60


def ask_nodes() -> Call[str]:
    """Ask every agent and return the question; it sees the last one asked with its next beat."""
    return Call("node_ask", (KEPT,), str)


def answer(report: NodeReport) -> Call[bool]:
    """Answer the question named in the report."""
    return Call("node_answer", (report.node, report.model_dump_json(), KEPT), bool)


def read_answers(request: str) -> Call[dict[str, NodeReport]]:
    """Read the answers that are there, by node: to this question, or to one that somebody else asked after it."""

    def parse(reply: list[str]) -> dict[str, NodeReport]:
        found = (NodeReport.model_validate_json(text, extra="ignore") for text in reply)
        return {report.node: report for report in found if report.request >= request}

    return Call("node_answers", (), parse)


def server_clock() -> Call[float]:
    """Read the server's clock: seconds since the epoch."""
    return Call("server_clock", (), float)
