"""Values about tasks that run in a git worktree of their own: what they changed, and what became of it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mahavishnu_pools.schemas.base import Value

#: How tasks are kept from disturbing each other in a directory: not at all, one after the other, or each in a worktree.
Isolation = Literal["none", "lock", "worktree"]

#: A commit's full name. What a result tells may come from another instance, and becomes an argument of git.
_COMMIT = r"^[0-9a-f]{40,64}$"


class FileChange(Value):
    """A file that a task changed; the lines are None for one that is no text."""

    path: str
    insertions: int | None = None
    deletions: int | None = None


class Changes(Value):
    """What a task changed in its worktree, as its result tells it (``metadata.worktree``).

    ``repository`` is the checkout on ``node`` that the worktree was made of, at its commit ``base``. ``branch`` and
    ``commit`` are None when nothing was changed. ``changed`` lists the first of the ``files`` files. ``kept`` is the
    worktree, where it could not be removed. ``note`` says what people should know.
    """

    task_id: str
    repository: str
    node: str
    base: str = Field(pattern=_COMMIT)
    branch: str | None = Field(default=None, pattern=r"^mahavishnu/[A-Za-z0-9][A-Za-z0-9_-]*$")
    commit: str | None = Field(default=None, pattern=_COMMIT)
    files: int = 0
    insertions: int = 0
    deletions: int = 0
    changed: tuple[FileChange, ...] = ()
    kept: str | None = None
    note: str | None = None


class Diff(Value):
    """The changes of a task as git shows them; ``cut``: there is more, which ``git diff`` in the repository shows."""

    changes: Changes
    text: str
    cut: bool = False


class Applied(Value):
    """What ``apply`` did to a checkout: files that were written, and the commit that was made of it (None: none).

    ``files`` is empty when the checkout had all of it already; ``uncommitted``: as changes that are not committed.
    """

    changes: Changes
    files: tuple[str, ...] = ()
    commit: str | None = None
    uncommitted: bool = False


class Discarded(Value):
    """What ``discard`` removed; ``again`` tells that nothing was left of it before."""

    task_id: str
    branch: str | None = None
    again: bool = False
