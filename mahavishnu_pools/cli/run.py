"""The command ``run``: one task, with the stack and the pool it needs."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from mahavishnu_pools import errors
from mahavishnu_pools.cli import task_documents
from mahavishnu_pools.cli.change_documents import changes_of
from mahavishnu_pools.cli.completion import pool_names
from mahavishnu_pools.cli.exit_codes import ExitCode, code_of_result
from mahavishnu_pools.cli.options import Seconds, format_option, isolation_option, need_option
from mahavishnu_pools.cli.output import Output
from mahavishnu_pools.cli.session import Session
from mahavishnu_pools.cli.task_input import TaskInput
from mahavishnu_pools.cli.which_stack import settings_in_force, with_data_dir

if TYPE_CHECKING:
    from mahavishnu_pools.manager import PoolManager
    from mahavishnu_pools.store.tasks import Submitted

#: The pool that is made when none can run the task.
POOL = "default"

#: Characters of what was shown that are compared with the answer.
_REMEMBERED = 300_000

_COMMAND = f"{__name__}.command"


class _AfterDashes(click.Command):
    """Keeps what stands after ``--`` apart: it is a command, not words of a prompt."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            ctx.meta[_COMMAND] = args[at + 1 :]
            args = args[:at]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return ["[OPTIONS]", "PROMPT|-|@FILE | -- COMMAND..."]


@with_data_dir
@click.command("run", cls=_AfterDashes)
@click.argument("prompt", required=False)
@click.option("--pool", "-p", metavar="POOL", shell_complete=pool_names, help="Run it on this pool (id or name).")
@click.option("--worker-type", metavar="TYPE", help="Run a prompt with this worker type instead of the pool's.")
@click.option("--timeout", "-T", type=Seconds(), metavar="SECONDS", help="It may run this long. [default: 300]")
@click.option("--cwd", type=click.Path(), help="Directory to run in. [default: this one]")
@isolation_option
@click.option("--env", multiple=True, metavar="NAME=VALUE", help="Add a variable to the task's environment.")
@need_option
@click.option("--session", metavar="KEY", help="Go on with the AI program's conversation of this key, or begin it.")
@click.option("--no-cancel", is_flag=True, help="Ctrl-C leaves the task running.")
@format_option
@click.pass_context
def run(context: click.Context, /, *, prompt: str | None, output: Output, no_cancel: bool, **given: Any) -> ExitCode:
    """Run one prompt, or after -- one command, and show its output as it comes.

    A stack is started when none runs, and goes on; a pool named "default" is made when no pool can run the task.
    """
    command: list[str] | None = context.meta.get(_COMMAND)
    if (prompt is None) == (not command):
        problem = "is missing" if prompt is None else "excludes the other"
        raise errors.InvalidField.of("PROMPT or -- COMMAND", problem, "Give one of the two.")
    session = context.ensure_object(Session)
    pool = given.pop("pool")
    task = _task(prompt, command, given).task(directory=session.directory)
    if command:
        task["payload"] = {"command": command}
    _have_stack(output)

    async def work(manager: PoolManager) -> ExitCode:
        submitted = await _submit(manager, task, pool, output=output)
        try:
            return await _show(manager, submitted, output=output, raw=command is not None)
        except asyncio.CancelledError:
            if no_cancel:
                output.say(f"It goes on. Follow it with: mahavishnu pools task {submitted.task_id} --follow")
            else:
                await manager.cancel(submitted.task_id, reason="interrupted at the command line")
                output.say(f"Cancelled task {submitted.task_id}.")
            raise

    return session.run(work)


def _task(prompt: str | None, command: list[str] | None, given: dict[str, Any]) -> TaskInput:
    empty: dict[str, Any] = dict.fromkeys(TaskInput.__dataclass_fields__)
    what = {"task_type": "shell", "payload": "{}"} if command else {"prompt": prompt}
    return TaskInput(**{**empty, "no_wait": False, **what, **given})


def _have_stack(output: Output) -> None:
    """Start the local stack when no Redis is configured and none runs."""
    from mahavishnu_pools.embedded import roots, stack

    settings = settings_in_force()
    if not settings.pools_enabled:
        raise errors.PoolsDisabled
    if stack.find_redis_url(settings) is not None:
        return
    output.say("Starting a local stack …")
    state = stack.ensure_running(settings)
    output.say(f"It runs in {state.data_dir} and goes on. Stop it with: mahavishnu down")
    if told := roots.said(settings):
        output.say(told)


async def _submit(manager: PoolManager, task: dict[str, Any], pool: str | None, *, output: Output) -> Submitted:
    try:
        return await manager.submit(task, pool=pool)
    except errors.NoPoolAvailable:
        if any(one.name == POOL for one in await manager.list_pools()):
            raise
    output.say(f"Making pool {POOL} …")
    await manager.spawn_pool("mahavishnu", name=POOL)
    return await manager.submit(task, pool=POOL)


def _seen(answer: str, shown: str) -> bool:
    """Tell whether the answer is where standard output goes already: the terminal or file of both streams."""
    return _streams_are_one() and shown.strip() == answer.strip()


def _streams_are_one() -> bool:
    if sys.stdout.isatty() and sys.stderr.isatty():
        return True
    try:
        return os.path.sameopenfile(sys.stdout.fileno(), sys.stderr.fileno())
    except (OSError, ValueError):  # a stream that is no file
        return False


async def _show(manager: PoolManager, submitted: Submitted, *, output: Output, raw: bool) -> ExitCode:
    """Show the output of a command as it is; of a prompt the answer, and what it prints meanwhile on standard error."""
    shown = ""
    async for piece in manager.follow(submitted.task_id):
        if raw and output.for_people:
            click.echo(piece.text, nl=False, err=piece.stream != "stdout")
            continue
        told = output.stream(piece)
        if piece.stream != "stderr":
            shown = f"{shown}{told}"[-_REMEMBERED:]
    result = await manager.task(submitted.task_id)
    if not output.for_people:
        output.show(task_documents.executed(result))
    elif not raw and not _seen(task_documents.output_of(result), shown):
        click.echo(task_documents.output_of(result))
    for label, value in changes_of(result):
        output.say(f"{label}: {value}")
    if not result.ok and output.for_people:
        click.echo(f"✗ Task {result.status.value}: {result.error or 'see its output'}", err=True)
    sys.stdout.flush()
    return code_of_result(result)
