"""Removes worktrees and branches of tasks, whatever state they are in."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from pathlib import Path

from mahavishnu_pools.worktrees.git import Git, decoded, insist, listed
from mahavishnu_pools.worktrees.records import Place, Record
from mahavishnu_pools.worktrees.turns import turn


def remove_directory(directory: Path) -> bool:
    """Remove a directory with all that is in it, and tell whether it is gone."""
    shutil.rmtree(directory, ignore_errors=True)
    if not os.path.lexists(directory):
        return True
    # A task may leave directories it made read-only, as package caches do; others may not be ours to remove.
    _make_writable(directory)
    for root, names, _ in os.walk(directory):
        for name in names:
            if not os.path.islink(os.path.join(root, name)):
                _make_writable(os.path.join(root, name))
    shutil.rmtree(directory, ignore_errors=True)
    return not os.path.lexists(directory)


def remove_tree(place: Place, git: Git, record: Record) -> bool:
    """Remove a worktree and what its repository keeps of it; tell whether its directory is gone.

    The repository, or any part of the worktree, may be gone already.
    """
    tree = Path(record.tree)
    gone = remove_directory(tree)
    if Path(record.top).is_dir() and gone:
        # Git looks for the worktree by the real path of its parent.
        with contextlib.suppress(OSError):
            tree.parent.mkdir(parents=True, exist_ok=True)
        with turn(place, record.common):
            git.at(Path(record.top)).run("worktree", "remove", "--force", "--force", record.tree, fine=None)
    _remove_rest(record)
    with contextlib.suppress(OSError):
        tree.parent.rmdir()
    return gone


def delete_branch(place: Place, git: Git, record: Record) -> bool:
    """Delete the branch of a task and tell whether it is gone; one that is checked out somewhere stays.

    Raises:
        GitFailed: it could not be deleted.
    """
    top = git.at(Path(record.top))
    if tip_of(top, record.branch) is None:
        return True
    with turn(place, record.common):
        used = listed(
            insist(top, "worktree", "list", "--porcelain", when="commondir|lock").stdout.replace(b"\n", b"\0")
        )
    if f"branch refs/heads/{record.branch}" in used:
        return False
    # Not "git branch -D", which rewrites the repository's configuration as well.
    insist(top, "update-ref", "-d", f"refs/heads/{record.branch}", when="lock")
    return True


def tip_of(git: Git, branch: str) -> str | None:
    """Return the commit a branch is at, None when there is no such branch."""
    found = git.run("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}^{{commit}}", fine=None)
    return decoded(found.stdout).strip() if found.returncode == 0 else None


def _remove_rest(record: Record) -> None:
    """Remove what git keeps of a worktree where git itself would not; only if it is this worktree's."""
    kept = Path(record.git_dir) if record.git_dir else None
    if kept is None or kept.parent.name != "worktrees":
        return
    with contextlib.suppress(OSError):
        points_to = os.fsdecode((kept / "gitdir").read_bytes().removesuffix(b"\n"))
        if points_to == os.path.join(record.tree, ".git"):
            remove_directory(kept)


def _make_writable(path: str | Path) -> None:
    with contextlib.suppress(OSError):
        os.chmod(path, stat.S_IRWXU)
