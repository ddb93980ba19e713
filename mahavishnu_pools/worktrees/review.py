"""Looks at the changes of a task, applies them to the checkout, and discards them."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.worktree import Changes, Diff, Discarded
from mahavishnu_pools.worktrees.git import Git, decoded, require_git, shown
from mahavishnu_pools.worktrees.records import Place, Record, branch_of
from mahavishnu_pools.worktrees.removing import delete_branch, remove_tree, tip_of

#: Bytes of a diff that are shown.
MOST_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Review:
    """The changes of a task that can be reached from here: in the checkout ``top``, up to the commit ``tip``."""

    changes: Changes
    top: Path
    tip: str

    @property
    def git(self) -> Git:
        """Return git in the checkout."""
        return Git(self.top)


def find_review(place: Place, task_id: str, told: Changes | None) -> Review:
    """Return the changes of a task; ``told`` are those that its result tells of (None: none, or it has expired).

    Raises:
        ChangesNotFound: it changed nothing, still runs, or its changes are not here; the message says which.
        GitFailed: git cannot be run.
    """
    record = place.read(task_id)
    changes = (record.ended if record else None) or told
    if changes is None:
        raise _nothing(task_id, running=record is not None)
    if changes.branch is None:
        kept = f" Its worktree is {changes.kept} on {changes.node}." if changes.kept else ""
        note = f" {changes.note}" if changes.note and changes.kept else ""
        raise _not_found(f"Task {task_id} has no branch with changes.{kept}{note}", changes)
    top = Path(record.top if record else changes.repository)
    if not top.is_dir():
        raise _elsewhere(changes)
    git = Git(top)
    require_git(git)
    if git.run("cat-file", "-e", f"{changes.base}^{{commit}}", fine=None).returncode != 0:
        raise _elsewhere(changes)
    tip = tip_of(git, changes.branch)
    if tip is None:
        where = "" if record else f", or, if that is another machine, they are on node {changes.node}"
        raise _not_found(f"There is no branch {changes.branch} in {top}: the changes were discarded{where}.", changes)
    return Review(changes, top, tip)


def show(found: Review, *, stat: bool = False, colour: bool = False, most: int = MOST_BYTES) -> Diff:
    """Return the changes as git shows them; ``stat``: only the files with their numbers of lines.

    Raises:
        GitFailed: git failed.
    """
    with tempfile.TemporaryFile() as file:
        how = ("--stat=100",) if stat else ("--patch",)
        found.git.run(
            "diff", "--no-ext-diff", "--no-textconv", f"--color={'always' if colour else 'never'}", *how,
            found.changes.base, found.tip, "--", into=file,
        )  # fmt: skip
        size = file.tell()
        file.seek(0)
        text = shown(decoded(file.read(most)))
    return Diff(changes=found.changes, text=text, cut=size > most)


def discard(place: Place, task_id: str, told: Changes | None) -> Discarded:
    """Delete the branch of a task, its worktree if that was kept, and what was written down of them.

    Raises:
        ChangesNotFound: nothing is known of its changes, or they are on another node.
        RepositoryRefused: it still runs, or somebody has worked on the branch or has it checked out.
        GitFailed: git failed.
    """
    record = place.read(task_id)
    if record is None and told is None:
        raise _nothing(task_id, running=False)
    if record is None:
        assert told is not None
        if told.branch is None:
            return Discarded(task_id=task_id, again=True)
        record = _as_record(told)
        if not Path(record.top).is_dir():
            raise _elsewhere(told)
    lock = place.task_lock(task_id)
    if not lock.take("discard"):
        text = f"Task {task_id} still uses its worktree. Cancel it first: mahavishnu pools cancel {task_id}"
        raise errors.RepositoryRefused(text, task_id=task_id)
    try:
        return _discarded(place, record, (record.ended or told))
    finally:
        lock.release()


def _discarded(place: Place, record: Record, changes: Changes | None) -> Discarded:
    git = Git(Path(record.top))
    there = Path(record.top).is_dir()
    tip = tip_of(git, record.branch) if there else None
    if tip is not None and changes is not None and changes.commit is not None and tip != changes.commit:
        remedy = f"Delete it by hand: git branch -D {record.branch}"
        raise _not_ours(record, "has commits that are not the task's", remedy)
    if tip is None and changes is not None and changes.commit is not None and not there:
        raise _elsewhere(changes)
    if record.tree and not remove_tree(place, git, record):
        raise errors.GitFailed(f"The worktree {record.tree} cannot be removed. Remove it by hand.")
    if tip is not None and not delete_branch(place, git, record):
        # git deletes no branch that some checkout is on, by hand neither.
        remedy = "Check out another one where 'git worktree list' shows it, then discard it again."
        raise _not_ours(record, "is checked out", remedy)
    place.forget(record.task_id)
    return Discarded(
        task_id=record.task_id, branch=record.branch if tip else None, again=tip is None and not record.tree
    )


def _as_record(told: Changes) -> Record:
    """Return what would have been written down here of changes that were written down elsewhere."""
    return Record(
        task_id=told.task_id,
        attempt=0,
        node=told.node,
        top=told.repository,
        base=told.base,
        branch=branch_of(told.task_id),
        tree="",
    )


def _nothing(task_id: str, *, running: bool) -> errors.ChangesNotFound:
    if running:
        text = f"Task {task_id} still runs, or was broken off; 'mahavishnu check' says which."
    else:
        text = f"Task {task_id} has no changes to look at: it did not run in a worktree, or has not ended."
    return errors.ChangesNotFound(text, task_id=task_id)


def _elsewhere(changes: Changes) -> errors.ChangesNotFound:
    text = (
        f"The changes of task {changes.task_id} are on node {changes.node}, in {changes.repository}, and not here. "
        "Run the command there."
    )
    return _not_found(text, changes)


def _not_found(text: str, changes: Changes) -> errors.ChangesNotFound:
    return errors.ChangesNotFound(text, task_id=changes.task_id, node=changes.node, repository=changes.repository)


def _not_ours(record: Record, problem: str, remedy: str) -> errors.RepositoryRefused:
    text = f"The branch {record.branch} in {record.top} {problem}. {remedy}"
    return errors.RepositoryRefused(text, task_id=record.task_id, branch=record.branch)
