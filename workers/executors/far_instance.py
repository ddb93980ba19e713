"""Another instance of this project, as its server shows it: asked which it is, given tasks, followed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from mahavishnu_pools import errors
from mahavishnu_pools.mcp_client import McpClient, ToolAnswer
from mahavishnu_pools.store.logs import START

from .remote_pool import Endpoint

#: What the server must offer.
NEEDED_TOOLS = ("pool_instance", "pool_submit", "pool_follow", "pool_cancel")

#: Seconds a short call may take.
CALL_TIMEOUT = 15.0

#: Seconds the server waits for news of a task, and how much later its answer may come.
FOLLOW_SECONDS, FOLLOW_MARGIN = 20.0, 15.0

#: What a server calls trouble that people or time will mend.
_PASSING = frozenset(
    {"error", "unavailable", "redis_unavailable", "redis_full", "redis_disk_full", "stack_not_running"}
)

#: What it calls pools that may come back, while others or none are there.
_NO_POOL = frozenset({"pool_not_found", "pool_gone", "no_pool_available"})


class TaskRefused(Exception):
    """The instance will not take a task, or does not know it; ``code`` is its own word for why."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.message, self.code = message, code

    @property
    def may_pass(self) -> bool:
        """Tell whether it may take the task later."""
        return self.code in _NO_POOL


@dataclass(frozen=True, slots=True)
class PoolChoice:
    """Which pools of the instance are meant: the one of this name, or those with all these tags."""

    pool: str | None = None
    tags: tuple[str, ...] = ()

    def arguments(self) -> dict[str, JsonValue]:
        """Return them as a tool takes them."""
        given: dict[str, JsonValue] = {} if self.pool is None else {"pool_id": self.pool}
        return {**given, "tags": list(self.tags)} if self.tags else given

    def __str__(self) -> str:
        if self.pool is not None:
            return f"the pool {self.pool!r}"
        return f"a pool with the tag {', '.join(self.tags)}" if self.tags else "a pool"


@dataclass(frozen=True, slots=True)
class Look:
    """Which instance it is, and why it takes no tasks of ours now (None: it does)."""

    instance: str
    trouble: str | None


@dataclass(frozen=True, slots=True)
class Accepted:
    """A task that the instance has; ``new`` is False when it had it before."""

    task_id: str
    pool_id: str
    new: bool


@dataclass(frozen=True, slots=True)
class News:
    """What is new of a task: (stream, text) pieces, where to go on, and its record once that is all."""

    pieces: Sequence[tuple[str, str]]
    after: str
    task: Mapping[str, Any] | None


class FarInstance:
    """One instance. Belongs to one event loop. Errors of calls are ``RemoteUnavailable`` and ``RemoteRefused``."""

    def __init__(self, endpoint: Endpoint, choice: PoolChoice) -> None:
        self.url, self.choice = endpoint.url, choice
        made = {"token": endpoint.token, "timeout": CALL_TIMEOUT, "ca_file": endpoint.ca_file}
        self._client = McpClient(endpoint.url, **made)  # type: ignore[arg-type]
        # Calls that wait must not keep short ones waiting for their turn.
        self._following = McpClient(endpoint.url, **made)  # type: ignore[arg-type]
        self._takes: frozenset[str] = frozenset()

    async def look(self) -> Look:
        """Return which instance it is, and why it takes no tasks, if so; what runs there may be followed all the same.

        Raises:
            RemoteUnavailable, RemoteRefused: it cannot be used now; the message says why.
        """
        tools = await self._client.tools()
        missing = [name for name in NEEDED_TOOLS if name not in tools]
        if missing:
            raise self._refused(
                f"has no tool {', '.join(missing)}. It is no server of this project, or one of an older version: "
                "correct the endpoint, or update it"
            )
        self._takes = frozenset(tools["pool_submit"].get("properties", ()))
        trouble = None
        try:
            told = self._read(await self._client.call("pool_instance", self.choice.arguments()))
        except TaskRefused as exc:
            trouble = f"The instance at {self.url} says: {exc.message}"
            told = await self._of_all_pools()
        instance, pools = told.get("instance_id"), told.get("pools")
        if not isinstance(instance, str) or not instance or not isinstance(pools, int):
            raise self._unavailable("does not say which instance it is")
        if pools == 0 and trouble is None:
            trouble = f"The instance at {self.url} does not have {self.choice} that takes tasks. Spawn or resume one."
        return Look(instance, trouble)

    async def _of_all_pools(self) -> Mapping[str, Any]:
        try:
            return self._read(await self._client.call("pool_instance", {}))
        except TaskRefused as exc:
            raise self._refused(f"says: {exc.message.rstrip('.')}") from exc

    async def submit(self, task: Mapping[str, JsonValue]) -> Accepted:
        """Send a task; with the idempotency key of an earlier one this is that one.

        Raises:
            TaskRefused: it will not have it.
        """
        unknown = sorted(task.keys() - self._takes)
        if unknown:
            names = ", ".join(unknown)
            raise TaskRefused(f"The server at {self.url} is of an older version and does not know: {names}.", "version")
        told = self._read(await self._client.call("pool_submit", {**task, **self.choice.arguments()}))
        try:
            return Accepted(str(told["task_id"]), str(told["pool_id"]), bool(told["new"]))
        except KeyError as exc:
            raise self._unavailable("does not say under which id it has the task", maybe_ran=True) from exc

    async def follow(self, task_id: str, *, after: str = START) -> News:
        """Wait for what a task prints behind ``after``, or its end; nothing may be new.

        Raises:
            TaskRefused: it does not know the task.
        """
        arguments: dict[str, JsonValue] = {"task_id": task_id, "after": after, "wait_seconds": FOLLOW_SECONDS}
        seconds = FOLLOW_SECONDS + FOLLOW_MARGIN
        told = self._read(await self._following.call("pool_follow", arguments, timeout=seconds))
        try:
            pieces = tuple((str(one["stream"]), str(one["text"])) for one in told["pieces"])
            task = told["task"]
            return News(pieces, str(told["after"]), task if isinstance(task, dict) else None)
        except (KeyError, TypeError) as exc:
            raise self._unavailable("tells of a task what cannot be read") from exc

    async def cancel(self, task_id: str) -> None:
        """Ask for the end of a task; one that has ended is none the worse for it.

        Raises:
            TaskRefused: it does not know the task.
        """
        self._read(await self._client.call("pool_cancel", {"task_id": task_id}))

    async def close(self) -> None:
        """End the connections."""
        await self._client.close()
        await self._following.close()

    def _read(self, answer: ToolAnswer) -> Mapping[str, Any]:
        value = answer.value if isinstance(answer.value, dict) else {}
        if not answer.failed:
            return value
        error = value.get("error")
        said = error if isinstance(error, dict) else {}
        message = str(said.get("message") or answer.text or "no reason")[:1000]
        code = str(said.get("code", "unknown"))
        if code in _PASSING:
            raise self._unavailable(f"cannot work now: {message.rstrip('.')}", maybe_ran=True)
        raise TaskRefused(message, code)

    def _unavailable(self, what: str, *, maybe_ran: bool = False) -> errors.RemoteUnavailable:
        return errors.RemoteUnavailable(f"The instance at {self.url} {what}.", url=self.url, maybe_ran=maybe_ran)

    def _refused(self, what: str) -> errors.RemoteRefused:
        return errors.RemoteRefused(f"The instance at {self.url} {what}.", url=self.url)
