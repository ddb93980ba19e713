"""What is known of the repository a directory is in, and whether worktrees can be made of it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mahavishnu_pools import errors
from mahavishnu_pools.worktrees.git import Git, decoded

#: What stands in the place of a commit that is not there yet.
_NOTHING = "it has no commit yet"


@dataclass(frozen=True, slots=True)
class Repository:
    """A checkout: its directory, the commit it is at, the directory inside of it that was asked for.

    ``common`` is what git keeps for it and for all other checkouts of the repository.
    """

    top: Path
    head: str
    inside: Path
    common: Path


def checkout_of(directory: Path) -> Path | None:
    """Return the top of the checkout a directory (without links) is in; None: it is in none. Runs no program."""
    for place in (directory, *directory.parents):
        if os.path.lexists(place / ".git"):
            return place
    return None


def find_repository(git: Git, *, roots: Iterable[Path]) -> Repository:
    """Return the repository of git's directory, if worktrees can be made of it; ``roots`` limit where it may be.

    Raises:
        RepositoryRefused: it is none, bare, without a commit, or reaches beyond the roots.
        GitFailed: git cannot be run.
    """
    here = git.directory
    top = _top(git)
    allowed = tuple(root.resolve() for root in roots)
    if allowed and not any(top.is_relative_to(root) for root in allowed):
        listed = ", ".join(map(str, allowed))
        raise _refused(
            here,
            f"its repository begins at {top}, outside the allowed roots ({listed})",
            "Allow the whole repository: start the stack there, or spawn the pool with --allowed-root.",
        )
    found = git.run("rev-parse", "--verify", "--quiet", "HEAD^{commit}", fine=None)
    if found.returncode != 0:
        raise _refused(here, _NOTHING, "Commit something first.")
    printed = git.run("rev-parse", "--git-common-dir").stdout
    common = (here / decoded(printed.removesuffix(b"\n"))).resolve()
    return Repository(top, decoded(found.stdout).strip(), here.relative_to(top), common)


def _top(git: Git) -> Path:
    here = git.directory
    asked = git.run("rev-parse", "--is-inside-work-tree", fine=None)
    said = decoded(asked.stderr)
    if asked.returncode != 0 and "not a git repository" not in said:
        raise errors.GitFailed(f"git cannot use {here}: {said.strip()[:500]}", said=said.strip()[:500])
    if asked.returncode != 0:
        raise _refused(here, "it is in no git repository", "Make one with 'git init', or use another isolation.")
    if decoded(asked.stdout).strip() != "true":
        raise _refused(here, "it is a bare repository, or its .git directory", "Name a directory of a checkout.")
    printed = git.run("rev-parse", "--show-toplevel").stdout
    # One line end is git's own; a name may end with more of them.
    return Path(decoded(printed.removesuffix(b"\n"))).resolve()


def uncommitted(git: Git) -> bool:
    """Tell whether a checkout has changes, or new files, that are in no commit; nothing is written."""
    return bool(git.run("status", "--porcelain", "-z", "--untracked-files=normal", "--ignore-submodules=none").stdout)


def _refused(directory: Path, problem: str, remedy: str) -> errors.RepositoryRefused:
    text = f"isolation: no worktree can be made of {str(directory)!r}: {problem}. {remedy}"
    return errors.RepositoryRefused(text, directory=str(directory))
