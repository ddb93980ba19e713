"""A printed command that runs until somebody ends it: watched in a pseudo-terminal, then ended with Ctrl-C."""

from __future__ import annotations

from tests.fixtures.terminal import CTRL_C, Terminal


def watch_for_a_while(command: str, environment: dict[str, str]) -> str:
    """Run a command until it shows the usual pool, press Ctrl-C, and return what is wrong; nothing when all is well."""
    with Terminal(["bash", "-c", f"exec {command}"], env=environment) as terminal:
        if not terminal.shows("local-pool"):
            return f"it showed no pool: {terminal.seen[-300:]!r}"
        terminal.type(CTRL_C)
        if not terminal.ends():
            return "it did not end at Ctrl-C"
        return "" if terminal.process.returncode == 130 else f"exit code {terminal.process.returncode} after Ctrl-C"
