"""The ``mahavishnu`` program."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import click

from mahavishnu_pools.cli.exit_codes import ExitCode, failure_of
from mahavishnu_pools.cli.lazy_group import LazyGroup
from mahavishnu_pools.cli.output import tell, tolerate_odd_characters, wants_json
from mahavishnu_pools.cli.pool_reading import read_pools
from mahavishnu_pools.cli.session import Session, submitter_directory
from mahavishnu_pools.cli.summaries import PROGRAM

_HERE = "mahavishnu_pools.cli"

COMMANDS = {
    "up": f"{_HERE}.stack:up",
    "down": f"{_HERE}.stack:down",
    "status": f"{_HERE}.stack:status",
    "logs": f"{_HERE}.stack_logs:logs",
    "run": f"{_HERE}.run:run",
    "shell": f"{_HERE}.shell:shell",
    "rotate": f"{_HERE}.rotate:rotate",
    "check": f"{_HERE}.check:check",
    "validate-production": f"{_HERE}.check:check",
    "pools": f"{_HERE}.pools:pools",
    "pool": f"{_HERE}.pools:pools",
    "schedule": f"{_HERE}.schedule:schedule",
    "workers": f"{_HERE}.workers:workers",
    "metrics": f"{_HERE}.metrics:metrics",
    "dashboard": f"{_HERE}.dashboard:dashboard",
    "nodes": f"{_HERE}.nodes:nodes",
    "agent": f"{_HERE}.nodes:agent",
    "config": f"{_HERE}.config:config",
    "completion": f"{_HERE}.completion_script:completion",
    "server": f"{_HERE}.server:server",
    "mcp": f"{_HERE}.mcp:mcp",
    "session-buddy": f"{_HERE}.session_buddy:session_buddy",
    "akosha": f"{_HERE}.akosha:akosha",
    "flower": f"{_HERE}.flower:flower",
    "version": f"{_HERE}.version:version",
}


@click.group(
    "mahavishnu",
    cls=LazyGroup,
    lazy=COMMANDS,
    summaries=PROGRAM,
    context_settings={"help_option_names": ["--help", "-h"]},
)
@click.version_option(package_name="mahavishnu-pools", message="%(prog)s %(version)s")
def mahavishnu() -> None:
    """Run AI-agent, command and container tasks on pools of workers."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code; None takes the process's arguments."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    tolerate_odd_characters(sys.stdout, sys.stderr)
    warnings.showwarning = _show_warning
    # Settings are read in several places of one command; each warning is told once.
    warnings.filterwarnings("once", category=UserWarning, module="mahavishnu_pools")
    try:
        return run(given, session=Session(reader=read_pools, directory=submitter_directory))
    except BrokenPipeError:
        # The reader went away (`… | head`); Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE


def run(arguments: Sequence[str], *, session: Session) -> int:
    """Run one command line and return its exit code; errors nobody foresaw are raised."""
    as_json = wants_json(arguments)
    try:
        code = mahavishnu.main(list(arguments), prog_name="mahavishnu", standalone_mode=False, obj=session)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except BaseException as exc:  # the border to the shell: what has an exit code gets it, the rest goes on
        failure = failure_of(exc)
        if failure is None:
            raise
        if isinstance(exc, click.UsageError) and not as_json:
            exc.show()
        else:
            tell(failure, as_json=as_json)
        return failure.exit_code
    return code if isinstance(code, int) else ExitCode.DONE


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    click.echo(f"Warning: {message}", err=True)


if __name__ == "__main__":
    sys.exit(main())
