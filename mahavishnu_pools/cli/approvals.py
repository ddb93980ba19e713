"""The commands ``approve`` and ``refuse``: what becomes of tasks that await approval."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from mahavishnu_pools import errors
from mahavishnu_pools.cli.completion import pool_names
from mahavishnu_pools.cli.exit_codes import ExitCode, failure_of
from mahavishnu_pools.cli.formats.interface import Document, Note
from mahavishnu_pools.cli.options import format_option
from mahavishnu_pools.cli.output import Output
from mahavishnu_pools.cli.pool_labels import names_of
from mahavishnu_pools.cli.session import Session

if TYPE_CHECKING:
    from mahavishnu_pools.manager import PoolManager
    from mahavishnu_pools.schemas.approval import Decision


@click.command()
@click.argument("task_ids", nargs=-1, required=True, metavar="TASK...")
@click.option("--reason", metavar="TEXT", help="Why; kept with the task.")
@click.option("--by", metavar="NAME", help="Who approves. [default: this user of this machine]")
@click.option(
    "--pool", "-p", metavar="POOL", shell_complete=pool_names, help="Run it on this pool (id or name) instead."
)
@format_option
@click.pass_obj
def approve(
    session: Session,
    /,
    *,
    task_ids: tuple[str, ...],
    reason: str | None,
    by: str | None,
    pool: str | None,
    output: Output,
) -> ExitCode:
    """Let tasks run that await approval ('tasks --status awaiting_approval' lists them)."""

    async def decide(manager: PoolManager, task_id: str) -> Decision:
        return await manager.approve(task_id, by=by, reason=reason, pool=pool)

    return _each(session, task_ids, decide, output)


@click.command()
@click.argument("task_ids", nargs=-1, required=True, metavar="TASK...")
@click.option("--reason", metavar="TEXT", help="Why; kept with the task.")
@click.option("--by", metavar="NAME", help="Who refuses. [default: this user of this machine]")
@format_option
@click.pass_obj
def refuse(
    session: Session, /, *, task_ids: tuple[str, ...], reason: str | None, by: str | None, output: Output
) -> ExitCode:
    """End tasks that await approval; their status is "refused" then."""

    async def decide(manager: PoolManager, task_id: str) -> Decision:
        return await manager.refuse(task_id, by=by, reason=reason)

    return _each(session, task_ids, decide, output)


def _each(
    session: Session,
    task_ids: Sequence[str],
    decide: Callable[[PoolManager, str], Awaitable[Decision]],
    output: Output,
) -> ExitCode:
    """Decide about each; of several, one about which nothing can be decided does not keep the others from it."""

    async def act(
        manager: PoolManager,
    ) -> tuple[list[Decision], dict[str, errors.MahavishnuError], dict[str, str]]:
        decided: list[Decision] = []
        failed: dict[str, errors.MahavishnuError] = {}
        for task_id in dict.fromkeys(task_ids):
            try:
                decided.append(await decide(manager, task_id))
            except (errors.InvalidInput, errors.NotFound) as exc:
                failed[task_id] = exc
        return decided, failed, await names_of(manager, [one.pool_id for one in decided])

    decided, failed, names = session.run(act)
    if not decided and len(failed) == 1:
        raise next(iter(failed.values()))
    output.show(_document(decided, failed, names))
    codes = [told.exit_code for exc in failed.values() if (told := failure_of(exc)) is not None]
    return codes[0] if codes else ExitCode.DONE


def _document(
    decided: Sequence[Decision], failed: Mapping[str, errors.MahavishnuError], names: Mapping[str, str]
) -> Document:
    data = {
        "decisions": [{**one.model_dump(mode="json"), "pool_name": names.get(one.pool_id or "")} for one in decided],
        "errors": {task_id: exc.message for task_id, exc in failed.items()},
    }
    lines = [Note(_line(one, names), good=None if one.again else True) for one in decided]
    return Document(data, (*lines, *(Note(exc.message, good=False) for exc in failed.values())))


def _line(one: Decision, names: Mapping[str, str]) -> str:
    verb = one.decision.capitalize()
    if one.again:
        why = f" ({one.reason})" if one.reason else ""
        return f"Task {one.task_id} was {one.decision} by {one.by} before{why}"
    where = f": it is queued on pool {names.get(one.pool_id or '', one.pool_id)}" if one.decision == "approved" else ""
    return f"{verb} task {one.task_id}{where}"
