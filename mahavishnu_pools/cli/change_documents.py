"""What a result tells of the changes a task made in its worktree, for people. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mahavishnu_pools.cli.formats.interface import Cell

if TYPE_CHECKING:
    from mahavishnu_pools.schemas.task import TaskResult


def changes_of(result: TaskResult) -> tuple[tuple[str, Cell], ...]:
    """Return what a task changed in its worktree, and how that is looked at."""
    found = result.metadata.get("worktree")
    if not isinstance(found, dict):
        return ()
    branch = found.get("branch")
    files = found.get("files")
    counts = f"{files} file{'' if files == 1 else 's'}, +{found.get('insertions')} −{found.get('deletions')}"
    how = f"{counts}; mahavishnu pools diff {result.task_id}, apply, or discard" if branch else "none"
    rows = (("Branch", branch), ("Changes", how), ("Worktree", found.get("kept")), ("Note", found.get("note")))
    return tuple((label, str(value)) for label, value in rows if value is not None)
