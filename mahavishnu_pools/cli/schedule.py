"""The group ``schedule``: work that is sent again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mahavishnu_pools import errors
from mahavishnu_pools.cli import schedule_documents
from mahavishnu_pools.cli.completion import pool_names
from mahavishnu_pools.cli.options import Seconds, Selector, filter_options, format_option, isolation_option, need_option
from mahavishnu_pools.cli.output import Output
from mahavishnu_pools.cli.pool_labels import names_of, with_pool_names
from mahavishnu_pools.cli.session import Session
from mahavishnu_pools.cli.task_input import TaskInput, take_filters
from mahavishnu_pools.cli.which_stack import with_data_dir

if TYPE_CHECKING:
    from mahavishnu_pools.manager import PoolManager
    from mahavishnu_pools.schemas.pool import PoolInfo
    from mahavishnu_pools.schemas.schedule import Schedule, ScheduleHistory, ScheduleRun


@click.group()
def schedule() -> None:
    """Have tasks sent again and again: by a cron expression, or every so long."""


@schedule.command()
@click.argument("name")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- prompt TEXT... | -- shell COMMAND...]")
@click.option(
    "--cron", metavar="EXPRESSION", help="Minute, hour, day of month, month, day of week: '30 4 * * mon-fri'."
)
@click.option("--every", metavar="SPAN", help="Instead of --cron: 90s, 15m, 2h or 1d.")
@click.option("--timezone", default="UTC", show_default=True, metavar="ZONE", help="Of --cron, such as Europe/Vienna.")
@click.option(
    "--missed",
    type=click.Choice(["run", "skip"]),
    default="run",
    show_default=True,
    help="When nobody could send it in time: send the last one late, or none.",
)
@click.option("--pool", "-p", metavar="POOL", shell_complete=pool_names, help="Run it on this pool (id or name).")
@click.option("--selector", type=Selector(), help="How the pool is chosen.")
@click.option("--affinity", metavar="KEY", help="Tasks of one key go to one pool.")
@click.option("--prompt", metavar="TEXT|-|@FILE", help="What to do, in words, instead of words after --.")
@click.option("--task-type", "-t", metavar="TYPE", help="A registered kind of task; its input is the payload.")
@click.option("--payload", metavar="JSON|-|@FILE", help="The input of the task type: a JSON object.")
@click.option(
    "--timeout", "-T", type=Seconds(), metavar="SECONDS", help="One attempt may run this long. [default: 300]"
)
@click.option("--priority", type=click.IntRange(0, 9), help="9 first, 0 last. [default: 5]")
@click.option("--cwd", type=click.Path(), help="Directory to run in. [default: this one]")
@click.option("--env", multiple=True, metavar="NAME=VALUE", help="Add a variable to the task's environment.")
@click.option("--worker-type", metavar="TYPE", help="Run a prompt with this worker type instead of the pool's.")
@click.option("--session", metavar="KEY", help="Go on with the AI program's conversation of this key, or begin it.")
@isolation_option
@need_option
@filter_options
@format_option
@click.pass_obj
def add(session: Session, /, *, name: str, words: tuple[str, ...], output: Output, **given: Any) -> None:
    """Have a task sent by a cron expression, or every so long.

    What stands after -- is a prompt; with the word "shell" before it, a command: a program and its arguments, or one
    line for the shell.
    """
    when = {option: given.pop(option) for option in ("cron", "every", "timezone", "missed")}
    where = {"pool": given.pop("pool"), "pool_selector": given.pop("selector"), "filters": take_filters(given)}
    where["pool_affinity"] = given.pop("affinity")
    task = _task(words, given, session)

    async def make(manager: PoolManager) -> Schedule:
        return await manager.add_schedule(name, task, **when, **where)

    output.show(schedule_documents.added(session.run(make)))


def _task(words: tuple[str, ...], given: dict[str, Any], session: Session) -> dict[str, Any]:
    command: list[str] | None = None
    if words:
        if any(given[option] is not None for option in ("prompt", "task_type", "payload")):
            problem = "exclude --prompt, --task-type and --payload"
            raise errors.InvalidField.of("words after --", problem, "Say what to do in one way.")
        kind, rest = words[0], list(words[1:])
        if kind == "shell" and rest:
            command = rest
            given |= {"task_type": "shell", "payload": "{}"}
        else:
            text = " ".join(rest if kind == "prompt" and rest else words)
            given["prompt"] = f"@{text}" if text.startswith("@") else text
    fields: dict[str, Any] = dict.fromkeys(TaskInput.__dataclass_fields__)
    task = TaskInput(**{**fields, "no_wait": False, **given}).task(directory=session.directory)
    if command is not None:
        # A single word is a line for the shell, as in a crontab.
        task["payload"] = {"command": command} if len(command) > 1 else {"command": command[0], "shell": True}
    return task


@schedule.command("list")
@format_option
@click.pass_obj
def list_schedules(session: Session, /, *, output: Output) -> None:
    """List the schedules by name."""

    async def read(manager: PoolManager) -> tuple[list[Schedule], list[PoolInfo]]:
        return await manager.schedules(), await manager.list_pools()

    found, pools = session.run(read)
    output.show(schedule_documents.listed(found, {name for pool in pools for name in (pool.name, pool.pool_id)}))


@schedule.command()
@click.argument("name")
@click.option("--limit", "-n", type=click.IntRange(1, 100), default=20, show_default=True, help="The newest N runs.")
@format_option
@click.pass_obj
def show(session: Session, /, *, name: str, limit: int, output: Output) -> None:
    """Show a schedule and what became of its last runs."""

    async def read(manager: PoolManager) -> tuple[ScheduleHistory, dict[str, str]]:
        found = await manager.schedule(name, limit=limit)
        return found, await names_of(manager, [found.schedule.where.pool, *(run.pool_id for run in found.runs)])

    found, names = session.run(read)
    output.show(with_pool_names(schedule_documents.history(found, names), names))


@schedule.command()
@click.argument("name")
@format_option
@click.pass_obj
def pause(session: Session, /, *, name: str, output: Output) -> None:
    """Let a schedule send nothing until it is resumed; what it has sent goes on."""

    async def act(manager: PoolManager) -> Schedule:
        return await manager.pause_schedule(name)

    output.show(schedule_documents.changed("Paused", session.run(act)))


@schedule.command()
@click.argument("name")
@format_option
@click.pass_obj
def resume(session: Session, /, *, name: str, output: Output) -> None:
    """Let a schedule go on with its next time; the times while it was paused are not made up for."""

    async def act(manager: PoolManager) -> Schedule:
        return await manager.resume_schedule(name)

    output.show(schedule_documents.changed("Resumed", session.run(act)))


@schedule.command()
@click.argument("name")
@format_option
@click.pass_obj
def run(session: Session, /, *, name: str, output: Output) -> None:
    """Send a schedule's task now, also when it is paused, and return its id; its planned times stay."""

    async def act(manager: PoolManager) -> tuple[ScheduleRun, dict[str, str]]:
        sent = await manager.run_schedule(name)
        return sent, await names_of(manager, [sent.pool_id])

    sent, names = session.run(act)
    output.show(with_pool_names(schedule_documents.sent(name, sent, names), names))


@schedule.command()
@click.argument("name")
@format_option
@click.pass_obj
def remove(session: Session, /, *, name: str, output: Output) -> None:
    """Remove a schedule and its history; what it has sent goes on."""

    async def act(manager: PoolManager) -> None:
        await manager.remove_schedule(name)

    session.run(act)
    output.show(schedule_documents.removed(name))


with_data_dir(schedule)
