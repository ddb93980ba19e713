"""The commands ``diff``, ``apply`` and ``discard``: what becomes of the changes a task made in its worktree."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from mahavishnu_pools.cli.formats.interface import Document, Note, Text
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


@click.command()
@click.argument("task_id", metavar="TASK")
@click.option("--commit", is_flag=True, help="Make one commit of it on the branch that is checked out.")
@format_option
@click.pass_obj
def apply(session: Session, /, *, task_id: str, commit: bool, output: Output) -> None:
    """Bring the changes of a TASK into the checkout it began at, all of them or none.

    They are left uncommitted, unless --commit is given. The branch stays until 'discard'.
    """

    async def work(manager: PoolManager) -> Applied:
        return await manager.apply(task_id, commit=commit)

    done = session.run(work)
    repository = done.changes.repository
    head = f"Applied task {task_id} to {repository}: {_files(len(done.files))}"
    if done.commit is not None:
        head += f", commit {done.commit[:12]}"
    if not done.files:
        head = f"{repository} has all changes of task {task_id} already"
    blocks = (Note(head, good=True), *((Text("Files", "\n".join(done.files)),) if done.files else ()))
    data = {"task_id": task_id, "repository": repository, "files": list(done.files), "commit": done.commit}
    output.show(Document(data, blocks))


@click.command()
@click.argument("task_id", metavar="TASK")
@format_option
@click.pass_obj
def discard(session: Session, /, *, task_id: str, output: Output) -> None:
    """Delete the branch with the changes of a TASK, and its worktree where that was kept."""

    async def work(manager: PoolManager) -> Discarded:
        return await manager.discard(task_id)

    done = session.run(work)
    text = f"Task {task_id} has no changes any more" if done.again else f"Discarded the changes of task {task_id}"
    if done.branch is not None:
        text += f": branch {done.branch} is deleted"
    output.show(Document(done.model_dump(mode="json"), (Note(text, good=None if done.again else True),)))


def _files(count: int) -> str:
    return f"{count} file{'' if count == 1 else 's'}"
