"""Commands about tasks of which not every answer is needed: ``race``, ``quorum``, ``best-of``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mahavishnu_pools import errors
from mahavishnu_pools.cli import contest_documents
from mahavishnu_pools.cli.completion import pool_names
from mahavishnu_pools.cli.exit_codes import ExitCode
from mahavishnu_pools.cli.following import follow_contest
from mahavishnu_pools.cli.options import Seconds, candidates_options, filter_options, live_format_option
from mahavishnu_pools.cli.output import Output
from mahavishnu_pools.cli.pool_options import pools_option
from mahavishnu_pools.cli.sending import sent_whole
from mahavishnu_pools.cli.session import Session
from mahavishnu_pools.cli.task_input import TaskInput, take_filters, text_of

if TYPE_CHECKING:
    from mahavishnu_pools.manager import PoolManager
    from mahavishnu_pools.routing.contesting import StartedContest

Command = TypeVar("Command", bound=Callable[..., Any])

#: Options that say where and how often a task is tried.
_OPTIONS = (
    pools_option("A candidate on this pool (may be repeated)."),
    click.option(
        "--with",
        "worker_types",
        multiple=True,
        metavar="TYPE",
        help="A candidate of this worker type (may be repeated).",
    ),
    click.option(
        "--copies",
        "-n",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        metavar="N",
        help="So many candidates of each.",
    ),
    click.option(
        "--deadline",
        type=Seconds(),
        metavar="SECONDS",
        help="Not decided by then, it has failed and all is cancelled, whoever waits.",
    ),
    click.option("--no-cancel", is_flag=True, help="Ctrl-C leaves the tasks running."),
)


def _contest_options(command: Command) -> Command:
    command = candidates_options(filter_options(command))
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command()
@_contest_options
@live_format_option
@click.pass_obj
def race(session: Session, /, *, output: Output, **given: Any) -> ExitCode:
    """Have several tasks do the same: the first that succeeds wins, the others are cancelled.

    There is a candidate for each --prompt, on each --pool, of each worker type --with, --copies times.
    """
    return _run(session, "race", {}, given, output=output)


@click.command()
@click.option("--needed", "-k", type=click.IntRange(min=1), required=True, metavar="K", help="So many must succeed.")
@click.option("--agree", is_flag=True, help="Only equal answers count together.")
@_contest_options
@live_format_option
@click.pass_obj
def quorum(session: Session, /, *, needed: int, agree: bool, output: Output, **given: Any) -> ExitCode:
    """Have several tasks do the same until enough have succeeded; the others are cancelled.

    There is a candidate for each --prompt, on each --pool, of each worker type --with, --copies times.
    """
    return _run(session, "quorum", {"needed": needed, "agree": agree}, given, output=output)


@click.command("best-of")
@click.option("--judge", metavar="TEXT|-|@FILE", help="A prompt that names the best answer; {answers} stands for them.")
@click.option("--judge-with", metavar="TYPE", help="The worker type of the judge's prompt.")
@click.option("--judge-call", metavar="MODULE:FUNCTION", help="A Python function that names it.")
@click.option("--judge-reducer", metavar="NAME", help="A reducer that names it.")
@click.option("--judge-pool", metavar="POOL", shell_complete=pool_names, help="Where the judge runs.")
@_contest_options
@live_format_option
@click.pass_obj
def best_of(session: Session, /, *, judge_pool: str | None, output: Output, **given: Any) -> ExitCode:
    """Have several tasks do the same, and a judge name the best of their answers.

    There is a candidate for each --prompt, on each --pool, of each worker type --with, --copies times.
    """
    judge = _judge(*(given.pop(name) for name in ("judge", "judge_with", "judge_call", "judge_reducer")))
    if "prompt" in judge and (directory := session.directory()) is not None:
        judge["cwd"] = directory
    return _run(session, "best_of", {"judge": judge, "judge_pool": judge_pool}, given, output=output)


def _judge(prompt: str | None, worker_type: str | None, call: str | None, reducer: str | None) -> dict[str, Any]:
    if sum(one is not None for one in (prompt, call, reducer)) != 1:
        raise errors.InvalidField.of(
            "--judge, --judge-call, --judge-reducer", "exactly one is needed", "Say who names the best answer."
        )
    if prompt is None and worker_type is not None:
        raise errors.InvalidField.of("--judge-with", "goes with --judge", "Leave it out, or give a prompt.")
    if call is not None:
        return {"task_type": "python", "payload": {"callable": call}}
    if reducer is not None:
        return {"task_type": f"reduce:{reducer}", "payload": {}}
    assert prompt is not None
    text = {"prompt": text_of(prompt, option="--judge")}
    return text if worker_type is None else {**text, "worker_type": worker_type}


def _run(session: Session, kind: str, rules: dict[str, Any], given: dict[str, Any], *, output: Output) -> ExitCode:
    how = {name: given.pop(name) for name in ("pools", "worker_types", "copies", "deadline")}
    how = {**rules, **how, "filters": take_filters(given)}
    no_cancel = given.pop("no_cancel")
    works = [TaskInput(prompt=prompt, **given) for prompt in given.pop("prompts") or (None,)]
    tasks = [work.task(directory=session.directory) for work in works]

    async def run(manager: PoolManager) -> ExitCode:
        started = await sent_whole(
            manager.start_contest(kind, tasks, **how),
            interrupted=lambda sent: _interrupted(manager, sent, no_cancel=no_cancel, output=output),
        )
        if works[0].no_wait:
            output.show(contest_documents.contest_accepted(started))
            return ExitCode.DONE
        later = f"mahavishnu pools task --batch {started.batch_id}"
        if not started.new:
            output.say("This had been submitted before, with this idempotency key; it is not sent again.")
        output.say(f"{len(started.task_ids)} candidates are batch {started.batch_id}. How it stands tells: {later}")
        try:
            within = works[0].wait_timeout
            return await follow_contest(manager, started.batch_id, output=output, wait_timeout=within, new=started.new)
        except asyncio.CancelledError:
            await _interrupted(manager, started, no_cancel=no_cancel, output=output)
            raise

    return session.run(run)


async def _interrupted(manager: PoolManager, started: StartedContest, *, no_cancel: bool, output: Output) -> None:
    # What somebody had submitted before, under the same key, is theirs.
    if no_cancel or not started.new:
        output.say(
            f"Batch {started.batch_id} goes on. Look at it with: mahavishnu pools task --batch {started.batch_id}"
        )
        return
    await manager.cancel_batch(started.batch_id, reason="interrupted at the command line")
    output.say(f"Cancelled batch {started.batch_id}.")
