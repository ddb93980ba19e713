"""What is shown of a task's conversation with an AI program. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mahavishnu_pools.cli.formats.interface import Cell
    from mahavishnu_pools.schemas.task import TaskResult


def conversation(result: TaskResult) -> Sequence[tuple[str, Cell]]:
    """Return a row that says whether a task went on with a conversation; none when it has none."""
    found = result.metadata.get("session")
    if not isinstance(found, dict):
        return ()
    why = f", because {found['why']}" if found.get("why") else ""
    return (("Session", f"{found.get('key')}: {found.get('state')}{why}"),)
