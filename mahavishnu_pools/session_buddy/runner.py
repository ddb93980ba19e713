"""How a worker runs a prompt: in this process (echo), or by a worker type, in a process that is started for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.task import Outcome

logger = logging.getLogger(__name__)

#: The worker type that answers with the prompt itself, in this process: for trying out and measuring pools.
ECHO = "echo"

#: What is started to run prompts by worker types.
COMMAND = (sys.executable, "-P", "-m", "mahavishnu_workers.prompt_runner")

#: Bytes one answer line may have: outputs are cut long before.
MAX_LINE = 64 * 1024 * 1024

#: Seconds the runner may take to end a tree of processes after a task's time is over.
END_MARGIN = 30.0

#: Seconds the runner may take to end when it is told to.
CLOSE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Job:
    """One prompt for one worker; ``timeout`` is in seconds. ``spec`` has further fields of a task's specification."""

    task_id: str
    pool_id: str
    worker_id: str
    prompt: str
    timeout: float
    spec: Mapping[str, Any] = field(default_factory=dict)


class Runner(Protocol):
    """Runs prompts. What goes wrong with one is in its outcome and is not raised."""

    async def run(self, job: Job) -> Outcome:
        """Run one prompt; a cancel of the call must end what was started for it."""
        ...

    async def close(self) -> None:
        """End everything that runs. A second call does nothing."""
        ...


class PromptRunner:
    """Runs prompts by the worker types of this project, in one process of its own, which is started when needed."""

    def __init__(self, command: tuple[str, ...] = COMMAND) -> None:
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._waiting: dict[str, asyncio.Future[Outcome]] = {}

    async def run(self, job: Job) -> Outcome:
        """Run one prompt."""
        if job.spec.get("worker_type") == ECHO:
            return Outcome(status="completed", output=job.prompt, exit_code=0)
        try:
            process = await self._running()
        except OSError as exc:
            return Outcome(status="failed", error=f"The runner of prompts cannot be started: {exc}.")
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting[job.task_id] = answer
        spec = {**job.spec, "prompt": job.prompt, "timeout": job.timeout}
        request = {"id": job.task_id, "pool_id": job.pool_id, "worker_id": job.worker_id, "spec": spec}
        try:
            await _send(process, request)
            async with asyncio.timeout(job.timeout + END_MARGIN):
                return await answer
        except TimeoutError:
            await self._cancel(process, job)
            return Outcome(status="timeout", error=f"The task ran longer than its timeout of {job.timeout:g} s.")
        except asyncio.CancelledError:
            await self._cancel(process, job)
            raise
        except OSError:
            return _lost()
        finally:
            self._waiting.pop(job.task_id, None)

    async def close(self) -> None:
        """End everything that runs and the process itself."""
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        if self._reading is not None:
            await self._reading

    async def _running(self) -> asyncio.subprocess.Process:
        async with self._starting:
            if self._process is None or self._process.returncode is not None:
                pipe = asyncio.subprocess.PIPE
                # Its own session: Ctrl-C in a terminal stops the server, which then ends this one in order.
                self._process = await asyncio.create_subprocess_exec(
                    *self._command, stdin=pipe, stdout=pipe, limit=MAX_LINE, start_new_session=True
                )
                self._reading = asyncio.create_task(self._read(self._process), name="read outcomes")
            return self._process

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        try:
            while line := await process.stdout.readline():
                self._answer(json.loads(line))
        except (ValueError, LookupError, TypeError, RecursionError):
            # Not an answer, or longer than one may be: what follows it says nothing either.
            logger.exception("The runner of prompts sent no answer and is ended", extra={"action": "runner_lost"})
            process.kill()
            await process.stdout.read()
        await process.wait()
        if self._process is process:
            logger.warning("The runner of prompts ended with %s", process.returncode, extra={"action": "runner_lost"})
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_result(_lost())

    def _answer(self, answer: dict[str, Any]) -> None:
        waiting = self._waiting.get(answer["id"])
        if waiting is not None and not waiting.done():
            waiting.set_result(Outcome.model_validate(answer["outcome"]))

    async def _cancel(self, process: asyncio.subprocess.Process, job: Job) -> None:
        with contextlib.suppress(OSError):  # it is gone, and what it ran with it
            await _send(process, {"cancel": job.task_id})


async def _send(process: asyncio.subprocess.Process, request: Mapping[str, Any]) -> None:
    if process.stdin is None or process.stdin.is_closing():
        raise BrokenPipeError
    process.stdin.write(json.dumps(request).encode() + b"\n")
    await process.stdin.drain()


def _lost() -> Outcome:
    return Outcome(status="failed", error="The process that ran the prompt was ended.", retryable="connection")


def job_spec(context: Mapping[str, Any] | None, *, worker_type: str | None) -> dict[str, Any]:
    """Return what of a caller's context says how the prompt is run: ``cwd`` (or ``repo``), ``worker_type``, ``env``.

    ``worker_type`` is the pool's; the context's wins. Other entries say nothing here.

    Raises:
        InvalidField: an entry has the wrong type.
    """
    given = dict(context or {})
    found = {"cwd": given.get("cwd") or given.get("repo"), "worker_type": given.get("worker_type") or worker_type}
    for name, value in found.items():
        if value is not None and not isinstance(value, str):
            raise errors.InvalidField.of(f"context.{name}", "must be a text", "Correct it or leave it out.")
    env = given.get("env")
    if env is not None and not _is_environment(env):
        raise errors.InvalidField.of("context.env", "must map names to texts", "Correct it or leave it out.")
    return {name: value for name, value in {**found, "env": env}.items() if value is not None}


def _is_environment(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(part, str) for pair in value.items() for part in pair)
