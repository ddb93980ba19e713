"""Commands for the local stack: ``up``, ``down``, ``status``."""

from __future__ import annotations

import shlex
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mahavishnu_pools import errors
from mahavishnu_pools.cli.formats.interface import Column, Document, Fields, State, Table
from mahavishnu_pools.cli.options import format_option
from mahavishnu_pools.cli.output import Output

if TYPE_CHECKING:
    from mahavishnu_pools.embedded.roots import Where
    from mahavishnu_pools.embedded.state import StackState
    from mahavishnu_pools.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])

#: How often ``up`` in the foreground looks after the supervisor, in seconds.
WATCH_INTERVAL = 0.5

#: Exit codes of ``status``.
EXIT_CODES = {"healthy": 0, "degraded": 1, "unreachable": 4}

_COLUMNS = (
    Column("Part"),
    Column("Status"),
    Column("PID", spare=1),
    Column("Restarts", spare=2),
    Column("URL", whole=True),
)


def data_dir_option(command: Command) -> Command:
    """Add ``--data-dir``."""
    return click.option(
        "--data-dir",
        type=click.Path(path_type=Path),
        help="Where the stack keeps its state (default: MAHAVISHNU_DATA_DIR, else the user's data directory).",
    )(command)


@click.command()
@click.option("--detach", "-d", is_flag=True, help="Return when the stack is ready; it goes on in the background.")
@click.option("--only-here", is_flag=True, help="Forget where earlier stacks were started: tasks may work only here.")
@data_dir_option
@format_option
def up(*, detach: bool, only_here: bool, data_dir: Path | None, output: Output) -> None:
    """Start the local stack, or repair a running one.

    Tasks may work below this directory and those that earlier stacks were started in, unless allowed_roots is set.
    """
    from mahavishnu_pools.embedded import health, stack
    from mahavishnu_pools.embedded.roots import Where

    settings = settings_of(data_dir)
    already = health.examine(stack.data_dir_of(settings))
    if already is not None and any(part.is_stopping for part in already.parts):
        click.echo("It is being stopped just now. Waiting for its end; then it is started again.", err=True)
    where = Where.ONLY_HERE if only_here else Where.ALSO_HERE
    state = stack.start(settings, detach=detach, where=where)
    output.show(_document(health.examine(state.data_dir) or state))
    again = "" if data_dir is None else f" --data-dir {shlex.quote(str(state.data_dir))}"
    _say_how_to_reach(settings, state, again=again, where=where)
    if already is not None and already.supervisor == state.supervisor:
        click.echo(f"It was running already. Stop it with: mahavishnu down{again}", err=True)
    elif not detach:
        _Foreground(settings, state).stay()


@click.command()
@data_dir_option
def down(*, data_dir: Path | None) -> None:
    """Stop the local stack; pools and waiting tasks are kept for the next start."""
    from mahavishnu_pools.embedded import stack

    settings = settings_of(data_dir)
    where = stack.data_dir_of(settings)
    _say_what_is_waited_for(settings)
    stopped = stack.stop(where, drain_seconds=settings.drain_timeout)
    click.echo(
        f"Stopped the stack in {where}." if stopped else f"No stack is running in {where}; nothing to stop.", err=True
    )


@click.command()
@data_dir_option
@format_option
@click.pass_context
def status(context: click.Context, *, data_dir: Path | None, output: Output) -> None:
    """Show every part of the local stack, and why one is not healthy.

    The exit code is 0 when all is healthy, 1 when a part is not, 4 when there is no stack or its Redis does not answer.
    """
    from mahavishnu_pools.embedded import health, stack

    where = stack.data_dir_of(settings_of(data_dir))
    state = health.examine(where)
    if state is None:
        raise errors.StackNotRunning(
            f"No stack is running in {where}. Start one with 'mahavishnu up', or name its directory with --data-dir."
        )
    output.show(_document(state))
    context.exit(EXIT_CODES[health.health_of(state).value])


class _Foreground:
    """``up`` without ``--detach``: stays until Ctrl-C, then stops the stack; a second Ctrl-C cuts that short."""

    def __init__(self, settings: Settings, state: StackState) -> None:
        self._settings = settings
        self._state = state
        self._asked = threading.Event()

    def stay(self) -> None:
        from mahavishnu_pools.embedded import stack
        from mahavishnu_pools.embedded.identity import is_alive
        from mahavishnu_pools.embedded.state import read_state

        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, self._on_signal)
        click.echo("Ready. Ctrl-C stops the stack.", err=True)
        while not self._asked.wait(WATCH_INTERVAL):
            if is_alive(self._state.supervisor):
                continue
            if read_state(self._state.data_dir) is None:
                click.echo("The stack was stopped.", err=True)
                return
            self._state = stack.start(self._settings, detach=False)
        click.echo("Stopping. Ctrl-C again cuts the waiting for running tasks short.", err=True)
        _say_what_is_waited_for(self._settings)
        stack.stop(self._state.data_dir, drain_seconds=self._settings.drain_timeout)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        from mahavishnu_pools.embedded.identity import send_signal

        if self._asked.is_set():
            send_signal(self._state.supervisor, signal.SIGTERM)
        self._asked.set()


def _say_how_to_reach(settings: Settings, state: StackState, *, again: str, where: Where) -> None:
    """Say what keeps this user's next commands from doing what they expect; ``again`` names the directory for them."""
    from mahavishnu_pools.embedded import planning, roots, stack

    differing = planning.differing(settings, state.settings, where=where)
    if differing:
        start = f"mahavishnu up{again}" + (" --only-here" if where is roots.Where.ONLY_HERE else "")
        click.echo(
            f"The running stack has other values of: {', '.join(differing)}. "
            f"'mahavishnu down{again}' and '{start}' apply yours.",
            err=True,
        )
    elif told := roots.said(settings):
        click.echo(told, err=True)
    if state.data_dir != stack.data_dir_of(settings_of(None)):
        directory = shlex.quote(str(state.data_dir))
        click.echo(f"Other commands find it with: export MAHAVISHNU_DATA_DIR={directory}", err=True)


def _say_what_is_waited_for(settings: Settings) -> None:
    from mahavishnu_pools.embedded.running import count_running
    from mahavishnu_pools.embedded.state import read_state

    state = read_state(settings.data_dir)
    agent = state.part("agent") if state is not None else None
    count = count_running(state, settings) if state is not None else None
    if state is None or agent is None or not count:
        return
    # The groups hand back by the setting they were started with; one that is shorter now has their agent killed.
    seconds, fate = state.drain_seconds, "handed back"
    if settings.drain_timeout + agent.stop_seconds < seconds:
        seconds, fate = settings.drain_timeout + agent.stop_seconds, "ended"
    place = "on another node, or at the next 'mahavishnu up'" if state.external else "at the next 'mahavishnu up'"
    click.echo(
        f"{'1 task is' if count == 1 else f'{count} tasks are'} running. Waiting up to {seconds:g} s; "
        f"what still runs then is {fate} and runs again {place}.",
        err=True,
    )


def settings_of(data_dir: Path | None) -> Settings:
    """Return the settings with another data directory (None: the configured one)."""
    from mahavishnu_pools.settings import load_settings

    return load_settings(**({"data_dir": data_dir} if data_dir else {}))


def _document(state: StackState) -> Document:
    data = state.to_document()
    rows = tuple(
        (part["name"], State(part["status"]), part["pid"], part["restarts"], part["url"]) for part in data["parts"]
    )
    table = Table(f"Stack in {data['data_dir']}", _COLUMNS, rows)
    why = tuple((part["name"], part["reason"]) for part in data["parts"] if part["reason"])
    reasons = (Fields("Reasons", why),) if why else ()  # sentences, for which a table has no room
    urls = (part["url"] for part in data["parts"] if part["name"] == "server" and part["url"])
    pages = tuple(("Page", url.removesuffix("mcp")) for url in urls)
    return Document(data, (table, *reasons, Fields(None, (("Redis", data["redis_url"]), *pages))))
