"""Turns a printed command line into one that can be run here: placeholders filled in, ports of this stack."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.acceptance.seeds.blocks import Line

#: Why a printed line is not run.
CANNOT = (
    (
        r"tail -f /tmp/",
        "it never ends, and the path is of somebody's machine; `mahavishnu logs --follow` stands for it",
    ),
    (r"cd /Users/", "a path of somebody's machine"),
    (r"\./deploy_dashboard\.sh", "a script of somebody's machine; `mahavishnu dashboard deploy` stands for it"),
    (r"pytest tests/", "test files of the project the document came from"),
)

#: Printed, and refused as specified: the input is a placeholder, or it is missing.
REFUSED = (r"\[\.\.\.\]", r"execute --format progress$")

_DEFAULTS = {
    "TYPE": "mahavishnu",
    "NAME": "local-pool",
    "POOL": "local-pool",
    "POOL_NAME": "local-pool",
    "SECONDS": "0.5",
    "STRATEGY": "round_robin",
    "JSON": '\'{"files": ["test.py"]}\'',
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What this stack has in the place of what the documents print."""

    pool_id: str
    task_id: str
    session_buddy_port: int
    akosha_port: int


@dataclass(frozen=True, slots=True)
class Runnable:
    """What is run: a shell command, the exit code it must end with, and what is typed into it."""

    command: str
    exit_code: int = 0
    typed: tuple[str, ...] = ()
    watched: bool = False


def reason_not_to_run(line: Line) -> str | None:
    return next((reason for pattern, reason in CANNOT if re.search(pattern, line.text)), None)


def names_made(line: Line) -> set[str]:
    """Return the names of pools that the line makes itself."""
    found = re.search(r"(?:register|spawn) .*--name \"?([\w<>-]+)\"?", line.text)
    return {found[1].replace("<pool_name>", "local-pool").replace("<NAME>", "local-pool")} if found else set()


def runnable(line: Line, facts: Facts) -> Runnable:
    """Return what is run for a line."""
    text = line.text
    refused = any(re.search(pattern, text) for pattern in REFUSED)
    if "[OPTIONS]" in text:
        text = re.sub(r"\s*\[OPTIONS\]", "", text) + " --help"
    text = re.sub(r"(?<=\s)\[(-[^\]|]*)(?:\|[^\]]*)?\]", r"\1", text)
    text = _placeholders(text, facts)
    text = text.replace("pool_abc", facts.pool_id).replace("task_abc123", facts.task_id)
    text = text.replace(":8678", f":{facts.session_buddy_port}").replace(":8682", f":{facts.akosha_port}")
    if text.startswith("mcp call session-buddy"):
        url = f"http://localhost:{facts.session_buddy_port}/mcp"
        text = f"mahavishnu {text.replace('session-buddy', url, 1)}"
    if text.startswith("curl"):
        text = text.replace("curl", "curl --fail --silent --show-error", 1)
    watched = bool(re.search(r" (watch|monitor)\b", text)) and "--help" not in text
    typed = tuple(one.replace("mahavishnu.", "mahavishnu_pools.") for one in line.typed)
    return Runnable(text, 2 if refused else 0, typed, watched)


def _placeholders(text: str, facts: Facts) -> str:
    known = {**_DEFAULTS, "TASK_ID": facts.task_id, "POOL_ID": facts.pool_id}
    if "--payload <JSON>" in text:
        known["TYPE"] = "analyze"
    return re.sub(r"<(\w+)>", lambda found: known[found[1].upper()], text)
