"""``python -m mahavishnu_pools.demo [DIR] [--stay] [--format table|json|markdown]``."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from mahavishnu_pools.cli.exit_codes import ExitCode, failure_of
from mahavishnu_pools.cli.formats.choice import FormatName
from mahavishnu_pools.cli.output import Output, tell, tolerate_odd_characters


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration and return its exit code: 0 also when some files could not be analysed."""
    options = _parser().parse_args(arguments)
    tolerate_odd_characters(sys.stdout, sys.stderr)
    output = Output(FormatName(options.format))
    try:
        asyncio.run(_run(options.directory.resolve(), output=output, stay=options.stay))
    except BaseException as exc:  # the border to the shell: what has an exit code gets it, the rest goes on
        failure = failure_of(exc)
        if failure is None:
            raise
        tell(failure, as_json=not output.for_people)
        return failure.exit_code
    return ExitCode.DONE


async def _run(directory: Path, *, output: Output, stay: bool) -> None:
    from mahavishnu_pools.demo.job import Job, run
    from mahavishnu_pools.settings import load_settings

    settings = load_settings(allowed_roots=(directory,), pools_enabled=True)
    await run(Job(directory, output, settings, wait=_until_asked_to_stop if stay else None))


async def _until_asked_to_stop() -> None:
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked.set)
    await asked.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mahavishnu_pools.demo",
        description="Analyse every Python file of a directory on three pools of a private stack.",
    )
    parser.add_argument("directory", metavar="DIR", nargs="?", default=".", type=Path, help="default: this directory")
    parser.add_argument("--stay", action="store_true", help="keep the stack up until Ctrl-C")
    formats = [FormatName.TABLE.value, FormatName.JSON.value, FormatName.MARKDOWN.value]
    parser.add_argument("--format", choices=formats, default=FormatName.TABLE.value, help="how to print the report")
    return parser


if __name__ == "__main__":
    sys.exit(main())
