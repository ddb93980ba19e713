"""One attempt's surroundings: directory, environment, masking, and running commands in them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mahavishnu_pools.schemas.task import Outcome

from .capture import HeadTail, LineSplitter, cut_text
from .environment import TaskEnvironment, build_environment
from .interface import RunContext
from .masking import StreamMasker
from .supervisor import Command, Ended, describe_exit, run_command
from .workdir import working_directory

#: How much of the standard error is kept for the result's metadata, in bytes.
_STDERR_KEPT = 16 * 1024

#: How much of the last line of the standard error goes into an error sentence, in characters.
_STDERR_QUOTED = 500


@dataclass(frozen=True, slots=True)
class Plan:
    """A command to run in a workspace; ``stdin=None`` is an empty input.

    ``on_line`` gets each line of the standard output. ``keep_bytes`` bounds what is kept of it (None: the limit of
    outputs). ``log_stdout=False`` keeps it out of the live log. ``result_pipe`` adds a pipe for a JSON result.
    """

    argv: tuple[str, ...]
    stdin: bytes | None = None
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    on_line: Callable[[str], None] | None = None
    keep_bytes: int | None = None
    log_stdout: bool = True
    result_pipe: bool = False


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that has ended, with what it put out (secrets masked)."""

    ended: Ended
    stdout: HeadTail
    stderr: HeadTail
    result: HeadTail
    seconds: float

    @property
    def succeeded(self) -> bool:
        """Tell whether it ended by itself with exit code 0."""
        return self.ended.how == "exited" and self.ended.returncode == 0

    @property
    def exit_code(self) -> int | None:
        """Return the exit code, 128 + n after signal n as shells show it, or None when we ended it."""
        if self.ended.how != "exited":
            return None
        code = self.ended.returncode
        return code if code >= 0 else 128 - code

    @property
    def last_error_line(self) -> str:
        """Return the last line of the standard error that is not blank, shortened."""
        lines = self.stderr.tail_text(4096).split("\n")
        return next((line.strip()[:_STDERR_QUOTED] for line in reversed(lines) if line.strip()), "")


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where one attempt runs."""

    context: RunContext
    cwd: Path
    environment: TaskEnvironment

    def run(self, plan: Plan) -> Finished:
        """Run a command until its whole tree has ended.

        Raises:
            Refused: it could not be started.
        """
        context = self.context
        output = Output(self, plan)
        began = time.monotonic()
        command = Command(
            argv=plan.argv,
            cwd=self.cwd,
            env={**self.environment.variables, **plan.env},
            task_id=context.task_id,
            timeout=context.spec.timeout,
            kill_grace=context.limits.kill_grace,
            stdin=plan.stdin,
            result_pipe=plan.result_pipe,
        )
        ended = run_command(command, consume=output.take, cancellation=context.cancellation)
        output.close()
        return Finished(ended, output.stdout, output.stderr, output.result, seconds=time.monotonic() - began)

    def outcome(self, finished: Finished, *, output: str | None = None) -> Outcome:
        """Return the outcome of a command whose exit code says how it went; ``output`` replaces its standard output."""
        context, ended = self.context, finished.ended
        text = finished.stdout.text() if output is None else output
        text = cut_text(text, limit=context.limits.max_output_bytes)
        if ended.how == "timeout":
            return timed_out(context, output=text)
        if ended.how == "cancelled":
            return cancelled(output=text)
        error = None
        if ended.returncode != 0:
            last = finished.last_error_line
            how = "was ended by" if ended.returncode < 0 else "ended with"
            error = f"The command {how} {describe_exit(ended.returncode)}{': ' + last if last else '.'}"
        metadata = {"stderr": finished.stderr.text()} if finished.stderr.written else {}
        return Outcome(
            status="completed" if error is None else "failed",
            output=text,
            error=error,
            exit_code=finished.exit_code,
            metadata={**metadata},
        )


@contextlib.contextmanager
def open_workspace(context: RunContext, *, env_pass: Iterable[str] = ()) -> Iterator[Workspace]:
    """Give the workspace of this attempt; a fresh directory is removed at the end.

    Raises:
        Refused: directory or secrets cannot be used.
    """
    environment = build_environment(context, env_pass=env_pass)
    with working_directory(context) as cwd:
        yield Workspace(context, cwd=cwd, environment=environment)


def timed_out(context: RunContext, *, output: str = "") -> Outcome:
    """Return the outcome of an attempt that took too long."""
    seconds = context.spec.timeout
    return Outcome(
        status="timeout", output=output, error=f"The task ran longer than its timeout of {seconds:g} s and was ended."
    )


def cancelled(*, output: str = "") -> Outcome:
    """Return the outcome of an attempt that was cancelled."""
    return Outcome(status="cancelled", output=output, error="The task was cancelled while it ran.")


class Output:
    """Sends output through the masker to the log, the kept part and the reader of lines."""

    def __init__(self, workspace: Workspace, plan: Plan) -> None:
        limits = workspace.context.limits
        self._log, self._plan = workspace.context.log, plan
        self.stdout = HeadTail(limits.max_output_bytes if plan.keep_bytes is None else plan.keep_bytes)
        self.stderr = HeadTail(_STDERR_KEPT)
        self.result = HeadTail(limits.max_value_bytes)
        masker = workspace.environment.masker
        self._maskers: dict[str, StreamMasker] = {name: masker.stream() for name in ("stdout", "stderr", "result")}
        self._lines = LineSplitter()

    def take(self, stream: str, data: bytes) -> None:
        """Take a piece of a stream."""
        self._keep(stream, self._maskers[stream].feed(data))

    def close(self) -> None:
        """Let go of what was held back because it could have been the beginning of a secret."""
        for stream, masker in self._maskers.items():
            self._keep(stream, masker.close())
        if self._plan.on_line is not None:
            for line in self._lines.close():
                self._plan.on_line(line)

    def _keep(self, stream: str, data: bytes) -> None:
        if not data:
            return
        if stream == "result":
            self.result.write(data)
            return
        (self.stdout if stream == "stdout" else self.stderr).write(data)
        if stream == "stderr" or self._plan.log_stdout:
            self._log.write(stream, data)
        if stream == "stdout" and self._plan.on_line is not None:
            for line in self._lines.feed(data):
                self._plan.on_line(line)
