"""Runs git: without a shell, for a bounded time, with nothing of the user's that would change what it does."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from mahavishnu_pools import errors

#: The oldest git that knows what is used here.
OLDEST = (2, 25)

#: Seconds one git command may take; making a worktree of a large repository takes the longest.
SECONDS = 600.0

#: Seconds between two looks whether the command is still wanted.
_LOOK = 0.25

#: Seconds a command gets to end after TERM; it removes its lock files then.
_GRACE = 5.0

#: How often a command is tried that others keep from its work, and the first pause between in seconds.
TRIES, _PAUSE = 8, 0.1

#: Characters of git's own words in a message.
_QUOTED = 500

#: Settings that win over those of user and repository: no hooks, no daemons, no signatures, no surprises in output.
_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.quotePath=false",
    "core.safecrlf=false",
    "core.filesRefLockTimeout=10000",
    "core.packedRefsTimeout=10000",
    "i18n.commitEncoding=utf-8",
    "gc.auto=0",
    "maintenance.auto=false",
    "submodule.recurse=false",
    "diff.noprefix=false",
    "diff.mnemonicPrefix=false",
    "diff.relative=false",
    "diff.orderFile=/dev/null",
    "diff.ignoreSubmodules=none",
    "apply.whitespace=nowarn",
    "apply.ignoreWhitespace=no",
)


@dataclass(frozen=True, slots=True)
class Git:
    """Git in one directory. ``env`` is added to its environment; ``stopped`` tells that nobody wants the answer."""

    directory: Path
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    stopped: Callable[[], bool] = lambda: False

    def at(self, directory: Path, **env: str) -> Git:
        """Return git in another directory, with more in its environment."""
        return replace(self, directory=directory, env={**self.env, **env})

    def text(self, *arguments: str, stdin: bytes | None = None) -> str:
        """Return what a command prints, without the line end; raises like ``run``."""
        return decoded(self.run(*arguments, stdin=stdin).stdout).rstrip("\n")

    def run(
        self,
        *arguments: str,
        stdin: bytes | None = None,
        into: IO[bytes] | None = None,
        fine: Sequence[int] | None = (0,),
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command; ``into`` gets its standard output. ``fine`` are exit codes that are no failure (None: all).

        Raises:
            GitFailed: it cannot be run, failed or took too long; the message has its own words.
        """
        command = ["git", *(part for one in _SETTINGS for part in ("-c", one)), *arguments]
        done = self._course(command, stdin, into)
        if fine is None or done.returncode in fine:
            return done
        said = _words(done.stderr)
        raise errors.GitFailed(
            f"git {arguments[0]} failed in {self.directory}: {said}", said=said, code=done.returncode
        )

    def _course(
        self, command: list[str], stdin: bytes | None, into: IO[bytes] | None
    ) -> subprocess.CompletedProcess[bytes]:
        source = subprocess.DEVNULL if stdin is None else subprocess.PIPE
        try:
            process = subprocess.Popen(
                command,
                cwd=self.directory,
                env={**_environment(), **self.env},
                stdin=source,
                stdout=into if into is not None else subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except FileNotFoundError as exc:
            raise _not_started(self.directory) from exc
        except (OSError, ValueError) as exc:
            raise errors.GitFailed(f"git cannot be run in {self.directory}: {exc}.") from exc
        with process:
            out, err = self._wait(process, stdin)
        return subprocess.CompletedProcess(command, process.returncode, out or b"", err or b"")

    def _wait(self, process: subprocess.Popen[bytes], stdin: bytes | None) -> tuple[bytes, bytes]:
        deadline = time.monotonic() + SECONDS
        try:
            while True:
                try:
                    return process.communicate(stdin, timeout=_LOOK)
                except subprocess.TimeoutExpired:
                    stdin = None
                    if self.stopped():
                        raise errors.GitFailed(f"git was ended in {self.directory}: the task was cancelled.") from None
                    if time.monotonic() > deadline:
                        text = f"git did not end within {SECONDS:g} s in {self.directory}."
                        raise errors.GitFailed(text) from None
        except BaseException:
            _end(process)
            raise


def insist(
    git: Git, *arguments: str, when: str, fine: Sequence[int] | None = (0,)
) -> subprocess.CompletedProcess[bytes]:
    """Run a command, again while it fails with words that match ``when``; raises like ``Git.run``."""
    for number in range(1, TRIES + 1):
        try:
            return git.run(*arguments, fine=fine)
        except errors.GitFailed as exc:
            if number == TRIES or git.stopped() or not re.search(when, str(exc.details().get("said", ""))):
                raise
        time.sleep(_PAUSE * number * random.uniform(0.5, 1.5))
    raise AssertionError("the last try returns or raises")


def require_git(git: Git) -> None:
    """Refuse a git that is missing or too old.

    Raises:
        GitFailed: it is.
    """
    if git_version(git) < OLDEST:
        needed = ".".join(map(str, OLDEST))
        have = git.text("version")
        raise errors.GitFailed(
            f"Worktrees need git {needed} or newer, and this machine has: {have}. Install a newer one."
        )


def git_version(git: Git) -> tuple[int, int]:
    """Return the first two numbers of git's version."""
    found = re.search(r"(\d+)\.(\d+)", git.text("version"))
    return (int(found[1]), int(found[2])) if found else (0, 0)


def decoded(data: bytes) -> str:
    """Return bytes of git as text; a path may hold any byte, so those that are no UTF-8 are kept as they are."""
    return data.decode("utf-8", "surrogateescape")


def shown(text: str) -> str:
    """Return text of git as it can be written as JSON and printed."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def listed(data: bytes) -> list[str]:
    """Return the parts of an output that ends each with NUL."""
    return [decoded(part) for part in data.split(b"\0") if part]


def _environment() -> dict[str, str]:
    """Return this process's environment without what would lead git elsewhere, or tell it or its filters too much."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "MAHAVISHNU_"))}
    fixed = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GIT_EDITOR": ":", "GIT_PAGER": "cat"}
    return {**kept, **fixed, "LC_ALL": "C", "LANGUAGE": "C"}


def _not_started(directory: Path) -> errors.MahavishnuError:
    if not directory.is_dir():
        return errors.GitFailed(f"git cannot be run in {directory}: there is no such directory.")
    return errors.GitFailed(
        "Worktrees need the program 'git', which is not on PATH. Install it with your system's tools."
    )


def _words(stderr: bytes) -> str:
    lines = [line.strip() for line in shown(decoded(stderr)).splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("fatal:", "error:"))] or lines
    return (" ".join(told).removeprefix("fatal: ").removeprefix("error: ") or "it said nothing")[:_QUOTED]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command and what it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
