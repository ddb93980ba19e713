"""Ends a worktree: what was changed in it is committed on the task's branch, then it is removed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.worktree import Changes, FileChange
from mahavishnu_pools.worktrees.git import Git, decoded, listed, shown
from mahavishnu_pools.worktrees.records import Place, Record
from mahavishnu_pools.worktrees.removing import delete_branch, remove_tree, tip_of

#: Files that a result lists, and characters their paths may have together.
LISTED_FILES, LISTED_CHARACTERS = 100, 8000

#: How often a commit is tried.
TRIES = 3

#: The exit code of "git add" that has left out what it could not read.
_NOT_ALL = 1

#: The mode of what is a repository of its own.
_REPOSITORY = "160000"


@dataclass(frozen=True, slots=True)
class Settled:
    """What a task changed; ``error`` tells why it could not be committed: then its worktree is kept."""

    changes: Changes
    error: str | None = None


def settle(place: Place, record: Record, *, status: str, mark: dict[str, str] | None = None) -> Settled:
    """Commit what was changed on the branch and remove the worktree; nothing changed leaves no branch.

    ``status`` goes into the commit's message. Whoever calls it holds the task's lock. It fails with a word on what to
    do, never with an exception of git or the disk.
    """
    git = Git(Path(record.top), env=mark or {})
    try:
        commit, notes, whole = _committed(git, place, record, status=status)
        changes = _changes(git, record, commit, notes)
        return Settled(_finished(place, git, record, changes, whole=whole))
    except (errors.GitFailed, OSError) as exc:
        text = exc.message if isinstance(exc, errors.GitFailed) else str(exc)
        error = f"What it changed could not be committed ({text.rstrip('.')}). It is in {record.tree} on {record.node}."
        return Settled(_kept(place, record, error), error)


def drop(place: Place, record: Record, *, mark: dict[str, str] | None = None) -> None:
    """Remove a worktree and its branch with all that was changed there."""
    git = Git(Path(record.top), env=mark or {})
    remove_tree(place, git, record)
    if Path(record.top).is_dir():
        delete_branch(place, git, record)
    place.forget(record.task_id)


def _committed(git: Git, place: Place, record: Record, *, status: str) -> tuple[str | None, list[str], bool]:
    """Do what ``_commit`` does and move the branch; a "git gc --prune=now" of somebody may take away what was made."""
    for number in range(1, TRIES + 1):
        try:
            found = _commit(git, place, record, status=status)
            if found[0] is not None:
                branch = f"refs/heads/{record.branch}"
                git.run("update-ref", "-m", "mahavishnu: changes of a task", branch, found[0])
        except errors.GitFailed:
            if number == TRIES:
                raise
        else:
            return found
    raise AssertionError("the last try returns or raises")


def _commit(git: Git, place: Place, record: Record, *, status: str) -> tuple[str | None, list[str], bool]:
    """Return the commit with all changes (None: there are none), what to note, and whether nothing was left out."""
    # Not by the worktree's own .git, which the task may have removed or replaced.
    tree = git.at(Path(record.tree), GIT_DIR=record.git_dir, GIT_WORK_TREE=record.tree)
    notes: list[str] = []
    added = tree.run("add", "--all", "--ignore-errors", fine=(0, _NOT_ALL))
    if added.returncode != 0:
        said = shown(decoded(added.stderr)).strip().splitlines()
        notes.append(f"Not all could be added: {' '.join(said[:3])[:500]} The worktree is kept.")
    content = tree.text("write-tree")
    head = _head(tree) or record.base
    if content != tree.text("rev-parse", f"{head}^{{tree}}"):
        who = _identity(place.author)
        message = _message(record, status).encode("utf-8", "replace")
        made = tree.at(tree.directory, **who).run("commit-tree", content, "-p", head, "-F", "-", stdin=message)
        commit: str | None = decoded(made.stdout).strip()
    elif head != record.base:
        commit = head
    else:
        tip = tip_of(git, record.branch)
        commit = None if tip == record.base else tip
    return commit, notes, added.returncode == 0


def _head(tree: Git) -> str | None:
    found = tree.run("rev-parse", "--verify", "--quiet", "HEAD^{commit}", fine=None)
    return decoded(found.stdout).strip() if found.returncode == 0 else None


def _changes(git: Git, record: Record, commit: str | None, notes: list[str]) -> Changes:
    about = [*([record.note] if record.note else []), *notes]
    changes = Changes(
        task_id=record.task_id, repository=shown(record.top), node=record.node, base=record.base, note=_note(about)
    )
    if commit is None:
        return changes
    files = changed_files(git, record.base, commit)
    inner = _repositories(git, record.base, commit)
    if inner:
        text = f"{', '.join(inner[:5])}: a repository of its own, of which only the commit is on the branch."
        about.append(f"{text} The worktree is kept.")
    return changes.model_copy(
        update={
            "branch": record.branch,
            "commit": commit,
            "files": len(files),
            "insertions": sum(one.insertions or 0 for one in files),
            "deletions": sum(one.deletions or 0 for one in files),
            "changed": _first(files),
            "kept": shown(record.tree) if inner else None,
            "note": _note(about),
        }
    )


def _finished(place: Place, git: Git, record: Record, changes: Changes, *, whole: bool) -> Changes:
    """Remove the worktree, and write down what is left to be looked at."""
    if not whole or changes.kept is not None or not remove_tree(place, git, record):
        changes = changes.model_copy(update={"kept": shown(record.tree)})
    if changes.commit is None and changes.kept is None:
        delete_branch(place, git, record)
        place.forget(record.task_id)
    else:
        place.write(replace(record, changes=changes.model_dump(mode="json")))
    return changes


def _kept(place: Place, record: Record, error: str) -> Changes:
    changes = Changes(
        task_id=record.task_id,
        repository=shown(record.top),
        node=record.node,
        base=record.base,
        kept=shown(record.tree),
        note=shown(error),
    )
    try:
        place.write(replace(record, changes=changes.model_dump(mode="json")))
    except OSError:  # a full disk; the result tells it, and a check finds the worktree
        return changes
    return changes


def changed_files(git: Git, base: str, commit: str) -> list[FileChange]:
    """Return the files that differ between two commits, with the lines that came and went."""
    printed = git.run("diff-tree", "-r", "-z", "--numstat", "--no-renames", "--no-ext-diff", base, commit).stdout
    found = []
    for part in listed(printed):
        added, removed, path = part.split("\t", 2)
        numbers = (None, None) if added == "-" else (int(added), int(removed))
        found.append(FileChange(path=shown(path), insertions=numbers[0], deletions=numbers[1]))
    return found


def _repositories(git: Git, base: str, commit: str) -> list[str]:
    """Return what came in as a repository inside of the repository."""
    parts = listed(git.run("diff-tree", "-r", "-z", "--raw", "--no-renames", base, commit).stdout)
    pairs = zip(parts[::2], parts[1::2], strict=False)
    return [shown(path) for about, path in pairs if about.split(" ")[:2] == [":000000", _REPOSITORY]]


def _first(files: list[FileChange]) -> tuple[FileChange, ...]:
    found: list[FileChange] = []
    characters = 0
    for one in files[:LISTED_FILES]:
        characters += len(one.path)
        if characters > LISTED_CHARACTERS:
            break
        found.append(one)
    return tuple(found)


def _message(record: Record, status: str) -> str:
    subject = record.subject or f"Task {record.task_id}"
    return f"{subject}\n\nMahavishnu-Task: {record.task_id}\nMahavishnu-Status: {status}\n".replace("\0", " ")


def _identity(author: str) -> dict[str, str]:
    name, _, address = author.rpartition(" <")
    mail = address.removesuffix(">")
    return {
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", name), ("EMAIL", mail))
    }


def _note(notes: list[str]) -> str | None:
    return shown(" ".join(notes)) or None
