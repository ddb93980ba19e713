"""The command ``logs``: what the parts of the local stack wrote."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import click

from mahavishnu_pools import errors
from mahavishnu_pools.cli.stack import data_dir_option, settings_of

#: Seconds between two looks for more.
LOOK_EVERY = 0.2


@click.command()
@click.argument("part", required=False)
@click.option("--lines", "-n", type=click.IntRange(min=0), default=50, show_default=True, help="Lines of each part.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what is written from now on, until Ctrl-C.")
@data_dir_option
def logs(*, part: str | None, lines: int, follow: bool, data_dir: Path | None) -> None:
    """Print the last lines a PART of the stack wrote, or those of all parts."""
    from mahavishnu_pools.embedded import output, stack

    where = stack.data_dir_of(settings_of(data_dir))
    files = {path.stem: path for path in sorted((where / "logs").glob("*.log"))}
    if not files:
        raise errors.StackNotRunning(f"There are no logs in {where}. Start a stack with 'mahavishnu up'.")
    if part is not None and part not in files:
        raise errors.UnknownChoice.of("part", part, list(files))
    chosen = {part: files[part]} if part else files
    followed = _Followed(chosen)
    for name, path in chosen.items():
        if not part:
            click.echo(f"==> {name} <==")
        for line in output.tail(path, lines=lines):
            click.echo(line)
    while follow:
        time.sleep(LOOK_EVERY)
        followed.print_new(named=part is None)


class _Followed:
    """Files that grow, from where they end now; one that was emptied is read from its beginning."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = files
        self._seen = {name: _size(path) for name, path in files.items()}

    def print_new(self, *, named: bool) -> None:
        """Print whole new lines; ``named`` puts the part before each."""
        for name, path in self._files.items():
            size = _size(path)
            start = self._seen[name] if size >= self._seen[name] else 0
            with suppress(FileNotFoundError), path.open("rb") as stream:
                stream.seek(start)
                whole, end, _ = stream.read(size - start).rpartition(b"\n")
                for line in whole.decode(errors="replace").splitlines():
                    click.echo(f"{name}: {line}" if named else line)
                self._seen[name] = start + len(whole) + len(end)
        sys.stdout.flush()


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
