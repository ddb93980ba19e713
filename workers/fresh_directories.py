"""Fresh directories of tasks, below one of their worker group: whoever ends the group removes what it left there."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from pathlib import Path

from mahavishnu_pools.worktrees.removing import remove_directory

logger = logging.getLogger(__name__)


def make_fresh(lease: str) -> Path:
    """Make a directory for one task of a group ('': outside of one).

    Raises:
        OSError: there is no room, or the group's directory is somebody else's.
    """
    if not lease:
        return Path(tempfile.mkdtemp(prefix="mahavishnu-task-"))
    parent = _of_group(lease)
    parent.mkdir(mode=0o700, exist_ok=True)
    if parent.is_symlink() or parent.stat().st_uid != os.geteuid():
        raise PermissionError(f"{parent} is not ours")
    return Path(tempfile.mkdtemp(prefix="task-", dir=parent))


def remove_left(lease: str) -> None:
    """Remove the directory of a group that has ended, with all that its tasks left there."""
    parent = _of_group(lease)
    if not parent.is_symlink() and os.path.lexists(parent) and not remove_directory(parent):
        logger.warning("%s could not be removed", parent, extra={"action": "remove_workdir"})


def _of_group(lease: str) -> Path:
    # A lease's name has characters that directories should not have, and a random part that nobody else knows.
    return Path(tempfile.gettempdir(), "mahavishnu-group-" + hashlib.sha256(lease.encode()).hexdigest()[:24])
