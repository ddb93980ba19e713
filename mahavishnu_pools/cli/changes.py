"""The commands ``diff``, ``apply`` and ``discard``: what becomes of the changes a task made in its worktree."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from mahavishnu_pools.cli.change_batches import Named, Worked, for_each, several
from mahavishnu_pools.cli.formats.interface import Block, Document, Note, Text
from mahavishnu_pools.cli.options import format_option
from mahavishnu_pools.cli.output import Output
from mahavishnu_pools.cli.session import Session

if TYPE_CHECKING:
    from mahavishnu_pools.manager import PoolManager
    from mahavishnu_pools.schemas.worktree import Applied, Diff, Discarded


@click.command()
@click.argument("task_id", metavar="TASK")
@click.option("--stat", is_flag=True, help="Only the files, with how many lines came and went.")
@format_option
@click.pass_obj
def diff(session: Session, /, *, task_id: str, stat: bool, output: Output) -> None:
    """Show what a TASK changed in its worktree."""
    colour = output.for_people and sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    async def look(manager: PoolManager) -> Diff:
        return await manager.diff(task_id, stat=stat, colour=colour)

    found = session.run(look)
    changes = found.changes
    if not output.for_people:
        output.show(Document({**changes.model_dump(mode="json"), "diff": found.text, "cut": found.cut}, ()))
        return
    if changes.note:
        output.say(changes.note)
    click.echo(found.text, nl=False, color=colour)
    if found.cut:
        output.say(f"… cut. The rest: git -C '{changes.repository}' diff {changes.base}..{changes.branch}")


_several = click.argument("task_ids", nargs=-1, metavar="[TASK]...")
_batch = click.option("--batch", "-b", metavar="BATCH", help="All tasks of this batch that have changes, in its order.")


@click.command()
@_several
@_batch
@click.option("--commit", is_flag=True, help="Make one commit of each task's on the branch that is checked out.")
@format_option
@click.pass_obj
def apply(session: Session, /, *, task_ids: tuple[str, ...], batch: str | None, commit: bool, output: Output) -> None:
    """Bring the changes of TASKs into the checkout they began at, of each task all of them or none.

    They are left uncommitted, unless --commit is given. The branches stay until 'discard'. The first task with
    something in the way is the last that is tried.
    """
    named = Named(task_ids, batch)

    async def work(manager: PoolManager) -> Worked[Applied]:
        return await for_each(manager, named, lambda task_id: manager.apply(task_id, commit=commit))

    done = session.run(work)
    document = several(done, line=_applied, data=_applied_data)
    if named.single:
        (one,) = done.done.values()
        document = Document(_applied_data(one), document.blocks)
    output.show(document)


@click.command()
@_several
@_batch
@format_option
@click.pass_obj
def discard(session: Session, /, *, task_ids: tuple[str, ...], batch: str | None, output: Output) -> None:
    """Delete the branches with the changes of TASKs, and their worktrees where those were kept."""
    named = Named(task_ids, batch)

    async def work(manager: PoolManager) -> Worked[Discarded]:
        return await for_each(manager, named, manager.discard)

    done = session.run(work)
    document = several(done, line=_discarded, data=lambda one: one.model_dump(mode="json"))
    if named.single:
        (one,) = done.done.values()
        document = Document(one.model_dump(mode="json"), document.blocks)
    output.show(document)


def _applied(done: Applied) -> tuple[Block, ...]:
    task_id, repository = done.changes.task_id, done.changes.repository
    if not done.files:
        how = ", not committed" if done.uncommitted else ""
        return (Note(f"Task {task_id} was applied already: {repository} has all of its changes{how}"),)
    head = f"Applied task {task_id} to {repository}: {_files(len(done.files))}"
    if done.commit is not None:
        head += f", commit {done.commit[:12]}"
    return Note(head, good=True), Text("Files", "\n".join(done.files))


def _applied_data(done: Applied) -> dict[str, Any]:
    return {
        "task_id": done.changes.task_id,
        "repository": done.changes.repository,
        "files": list(done.files),
        "commit": done.commit,
    }


def _discarded(done: Discarded) -> tuple[Block, ...]:
    what = "Task {} has no changes any more" if done.again else "Discarded the changes of task {}"
    text = what.format(done.task_id)
    if done.branch is not None:
        text += f": branch {done.branch} is deleted"
    return (Note(text, good=None if done.again else True),)


def _files(count: int) -> str:
    return f"{count} file{'' if count == 1 else 's'}"
