"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

from mahavishnu_pools import durations
from mahavishnu_pools.cli.formats.choice import FormatName
from mahavishnu_pools.cli.output import Output

Command = TypeVar("Command", bound=Callable[..., Any])

#: What ``--selector`` takes, besides the names that plug-ins bring.
SELECTORS = ("round_robin", "least_loaded", "random", "affinity", "fastest", "cheapest")

_FORMATS = [FormatName.TABLE.value, FormatName.JSON.value, FormatName.MARKDOWN.value]


def format_option(command: Command) -> Command:
    """Add ``--format``; the command gets it as ``output``."""
    return _format_option(_FORMATS, "How to print it.")(command)


def live_format_option(command: Command) -> Command:
    """Add ``--format`` with the choice ``progress``; the command gets it as ``output``."""
    return _format_option(
        [*_FORMATS, FormatName.PROGRESS.value], "How to print it; progress: a live bar, then the table."
    )(command)


def _format_option(names: list[str], text: str) -> Callable[[Command], Command]:
    return click.option(
        "--format",
        "-f",
        "output",
        type=click.Choice(names, case_sensitive=False),
        default=FormatName.TABLE.value,
        show_default=True,
        callback=lambda _context, _option, value: Output(FormatName(value)),
        help=text,
    )


def parts_options(command: Command) -> Command:
    """Add what describes a task and how it is waited for; the command hands them to ``TaskInput``.

    It is one that is split: its parts share no conversation.
    """
    return _with(command, _PROMPT, *_WORK, *_FATES, *_PARENTS, *_WAITING)


def tasks_options(command: Command) -> Command:
    """Add the same for commands that take several ``prompts``, each of which may be a turn of a conversation."""
    return _with(command, _PROMPTS, *_WORK, *_FATES, *_PARENTS, _CONVERSATION, *_WAITING)


def candidates_options(command: Command) -> Command:
    """Add the same for several ``prompts`` that compete: they come after no others and share no conversation."""
    return _with(command, _PROMPTS, *_WORK, *_WAITING)


def _with(command: Command, /, *options: Callable[[Command], Command]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def agent_log_options(command: Command) -> Command:
    """Add how the log of an AI program is shown; the command gets ``raw`` and ``thinking``."""
    return _with(command, *_AGENT_LOG_OPTIONS)


def filter_options(command: Command) -> Command:
    """Add the options that narrow the pools a task may go to."""
    return _with(command, *_FILTER_OPTIONS)


class Selector(click.Choice[str]):
    """The type of ``--selector``: a routing strategy, also one of a plug-in."""

    def __init__(self) -> None:
        super().__init__(SELECTORS, case_sensitive=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name.

        Raises:
            BadParameter: nobody knows it.
        """
        if isinstance(value, str) and value.lower() not in SELECTORS:
            from mahavishnu_pools.routing.measured import plugin_names

            if value in plugin_names():
                return value
        found: str = super().convert(value, param, ctx)
        return found


class Seconds(click.FloatRange):
    """The type of options that are seconds: above zero, at most ten years."""

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number.

        Raises:
            BadParameter: it is none, or out of the range.
        """
        number: float = super().convert(value, param, ctx)
        if math.isnan(number) or number > durations.MOST:
            self.fail(f"{value!r} is not a number up to {durations.MOST:.0f} (ten years).", param, ctx)
        return number


#: What a task needs of the node that runs it; the command gets ``needs``.
need_option = click.option(
    "--need",
    "needs",
    multiple=True,
    metavar="NAME=AMOUNT|TAG",
    help="Run it on a node that has this free: gpu=1, memory=8GiB, or a tag of nodes (may be repeated).",
)

_WORDS = "What to do, in words. -: read it from standard input"
_PROMPT = click.option("--prompt", metavar="TEXT|-|@FILE", help=f"{_WORDS}.")
_PROMPTS = click.option(
    "--prompt", "prompts", multiple=True, metavar="TEXT|-|@FILE", help=f"{_WORDS}. May be repeated: a task each."
)
#: ``--isolation``: how a task is kept from disturbing others.
isolation_option = click.option(
    "--isolation",
    type=click.Choice(["none", "lock", "worktree"]),
    help="Share its directory, wait for it, or have a git worktree. [default: the pool's, else lock for AI]",
)
_WORK = (
    click.option("--task-type", "-t", metavar="TYPE", help="A registered kind of task; its input is the payload."),
    click.option("--payload", metavar="JSON|-|@FILE", help="The input of the task type: a JSON object."),
    click.option(
        "--timeout",
        "-T",
        type=Seconds(),
        metavar="SECONDS",
        help="One attempt may run this long. [default: 300]",
    ),
    click.option("--priority", type=click.IntRange(0, 9), help="9 first, 0 last. [default: 5]"),
    click.option("--idempotency-key", metavar="KEY", help="A second task with this key is the first one."),
    click.option("--cwd", type=click.Path(), help="Directory to run in."),
    click.option("--env", multiple=True, metavar="NAME=VALUE", help="Add a variable to the task's environment."),
    click.option("--worker-type", metavar="TYPE", help="Run a prompt with this worker type instead of the pool's."),
    need_option,
    isolation_option,
)
#: What becomes of a task that fails, waits too long, or loses its worker.
_FATES = (
    click.option(
        "--max-retries",
        type=click.IntRange(0, 100),
        metavar="N",
        help="So many further attempts when one fails. [default: 3 for rate limits, overload, lost connections]",
    ),
    click.option("--expires", type=Seconds(), metavar="SECONDS", help="Cancel it when no worker has taken it by then."),
    click.option(
        "--on-worker-lost",
        type=click.Choice(["requeue", "fail"]),
        help="When its worker dies: run it again, or it has failed. [default: requeue]",
    ),
)
_PARENTS = (
    click.option(
        "--after", multiple=True, metavar="TASK", help="Run it when this task (its id) has ended (may be repeated)."
    ),
    click.option(
        "--on-parent-failure",
        type=click.Choice(["skip", "fail", "run"]),
        help="When one of --after does not complete: it is cancelled, fails, or runs all the same. [default: skip]",
    ),
)
_CONVERSATION = click.option(
    "--session", metavar="KEY", help="Go on with the AI program's conversation of this key, or begin it."
)
_WAITING = (
    click.option("--approval", type=click.Choice(["required"]), help="Run it only when somebody has approved of it."),
    click.option(
        "--approval-timeout",
        type=Seconds(),
        metavar="SECONDS",
        help="With --approval: cancel it when nobody has by then. [default: 7 days]",
    ),
    click.option(
        "--wait-timeout", type=Seconds(), metavar="SECONDS", help="Stop waiting after this; the task goes on."
    ),
    click.option("--no-wait", is_flag=True, help="Return the ids at once."),
)

_AGENT_LOG_OPTIONS = (
    click.option("--raw", is_flag=True, help="Show an AI program's own lines, not what they tell."),
    click.option("--thinking", is_flag=True, help="Show what an AI program thinks, too."),
)

_FILTER_OPTIONS = (
    click.option("--pool-filter", metavar="TYPE", help="Only pools of this type."),
    click.option("--tag", "tags", multiple=True, metavar="TAG", help="Only pools with this tag (may be repeated)."),
    click.option("--region", metavar="REGION", help="Only pools of this region."),
    click.option("--pool-worker-type", metavar="TYPE", help="Only pools with this worker type."),
)
