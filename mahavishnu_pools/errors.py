"""Every error this project raises: one root, four areas, one leaf per thing that can go wrong.

The message says what is wrong, where, and what to do about it. Data a program may need is in attributes and in
``details()``. Exit codes and MCP errors are derived from ``code`` in one place each.

All of them can be rebuilt from their message alone (``cls(message)``), because Celery stores an exception as type and
arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mahavishnu_pools.wording import did_you_mean, short


class MahavishnuError(Exception):
    """Root of every error of this project."""

    #: Stable, machine-readable name, shown in JSON errors and MCP errors.
    code = "error"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self._details = details

    def __getattr__(self, name: str) -> Any:
        details = self.__dict__.get("_details", {})
        if name in details:
            return details[name]
        raise AttributeError(name)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self._details))

    def details(self) -> dict[str, Any]:
        """Return the data of this error, ready for JSON."""
        return dict(self._details)


def _rebuild(cls: type[MahavishnuError], message: str, details: dict[str, Any]) -> MahavishnuError:
    error = cls.__new__(cls)
    MahavishnuError.__init__(error, message, **details)
    return error


# ── areas ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class InvalidInput(MahavishnuError):
    """What the caller gave cannot be used; nothing was changed."""

    code = "invalid_input"


class NotFound(MahavishnuError):
    """The thing that was named does not exist."""

    code = "not_found"


class Unavailable(MahavishnuError):
    """A part that is needed (Redis, an agent, the stack) cannot be reached or used."""

    code = "unavailable"


class TaskOutcomeError(MahavishnuError):
    """A task ended without success; raised by ``AsyncResult.get()`` only, never by ``execute_on_pool``."""

    code = "task_not_successful"


# ── invalid input ────────────────────────────────────────────────────────────────────────────────────────────────────


class InvalidField(InvalidInput):
    """One named field has a value that cannot be used."""

    code = "invalid_field"

    @classmethod
    def of(cls, field: str, problem: str, remedy: str) -> InvalidField:
        """Build the error from the field's name, what is wrong with it and what to do."""
        return cls(f"{field}: {problem}. {remedy}", field=field)


class SecretInTheOpen(InvalidField):
    """A variable of a task looks like a secret; records and messages would hold it."""

    code = "secret_in_the_open"

    @classmethod
    def at(cls, place: str) -> SecretInTheOpen:
        """Build the error from the variable's place, such as ``env.API_TOKEN``."""
        remedy = "Put it into the workers' secrets.env and name it under 'secrets'."
        return cls(f"{place}: looks like a secret and would stand in the task's record. {remedy}", field=place)


class InvalidConfig(InvalidInput):
    """A setting has a value that cannot be used."""

    code = "invalid_config"


class UnknownChoice(InvalidInput):
    """A name is not among the registered ones (pool type, strategy, worker type, task type, reducer)."""

    code = "unknown_choice"

    @classmethod
    def of(cls, kind: str, given: object, known: Sequence[str]) -> UnknownChoice:
        """Build the error from the kind of name, what was given and the names that exist."""
        names = ", ".join(sorted(known)) or "none is registered"
        text = f"Unknown {kind} {short(given)}. Use one of: {names}."
        return cls(text, kind=kind, given=str(given), known=sorted(known))


class MissingProgram(InvalidInput):
    """A worker type needs a program that is not on PATH."""

    code = "missing_program"

    @classmethod
    def of(cls, worker_type: str, program: str, install: str) -> MissingProgram:
        """Build the error from the worker type, the program and the command that installs it."""
        return cls(
            f"Worker type {worker_type!r} needs the program {program!r}, which is not on PATH. "
            f"Install it with: {install}",
            worker_type=worker_type,
            program=program,
            install=install,
        )


class PayloadTooLarge(InvalidInput):
    """A task's payload is over the configured limit."""

    code = "payload_too_large"

    @classmethod
    def of(cls, size: int, limit: int) -> PayloadTooLarge:
        """Build the error from the size and the limit, both in bytes."""
        return cls(
            f"The task takes {size} bytes, the limit is {limit}. Put large input into a file and pass its path, "
            "or raise max_payload_bytes.",
            size=size,
            limit=limit,
        )


class PoolConflict(InvalidInput):
    """A pool of this name exists with another configuration."""

    code = "pool_conflict"

    @classmethod
    def of(cls, name: str, fields: Sequence[str]) -> PoolConflict:
        """Build the error from the pool's name and the fields that differ."""
        return cls(
            f"A pool named {name!r} exists already and differs in: {', '.join(fields)}. "
            "Use another name, close that pool first, or spawn it with the same values.",
            name=name,
            fields=list(fields),
        )


class TaskExists(InvalidInput):
    """A Celery call with an idempotency key would have been a second task of that key."""

    code = "task_exists"

    @classmethod
    def of(cls, task_id: str) -> TaskExists:
        """Build the error from the id of the task that has the key."""
        return cls(
            f"Task {task_id} has this idempotency key and was not sent again. Its result is AsyncResult({task_id!r}).",
            task_id=task_id,
        )


class AlreadyDecided(InvalidInput):
    """It was decided otherwise about a task that needed an approval (``decision``, ``by``), or it is too late."""

    code = "already_decided"


class PoolBusy(InvalidInput):
    """A pool has tasks, and nobody said what is to become of them."""

    code = "pool_busy"

    @classmethod
    def of(cls, name: str, queued: int, running: int, *, ways: str = "") -> PoolBusy:
        """Build the error from the pool's name, its waiting and running tasks and how to say what becomes of them."""
        known = (
            ways or "tasks='move' gives them to other pools, 'drain' waits until they have run, 'cancel' cancels them"
        )
        return cls(
            f"Pool {name!r} has {queued} queued and {running} running tasks. Say what is to become of them: {known}.",
            pool=name,
            queued=queued,
            running=running,
        )


class ScaleOutOfRange(InvalidInput):
    """A requested worker count is outside the pool's limits."""

    code = "scale_out_of_range"

    @classmethod
    def of(cls, target: int, minimum: int, maximum: int) -> ScaleOutOfRange:
        """Build the error from the wanted number and both limits."""
        few, limits = target < minimum, f"this pool may have {minimum} to {maximum}"
        remedy = f"Give {minimum} or more; a pool spawned with a lower minimum may have fewer."
        if not few:
            remedy = f"Give {maximum} or fewer, or raise the limit in the same call with max_workers={target}."
        text = f"{target} workers are too {'few' if few else 'many'}: {limits}. {remedy}"
        return cls(text, target=target, min_workers=minimum, max_workers=maximum)


class ScalingNotSupported(InvalidInput):
    """The pool's type has a fixed number of workers."""

    code = "scaling_not_supported"


class PoolsDisabled(InvalidInput):
    """Pools are switched off by ``pools_enabled: false``."""

    code = "pools_disabled"

    def __init__(self, message: str = "") -> None:
        super().__init__(
            message
            or "Pools are switched off (pools_enabled: false). "
            "Set it to true, or MAHAVISHNU_POOLS_ENABLED=true, and try again."
        )


# ── not found ────────────────────────────────────────────────────────────────────────────────────────────────────────


class PoolNotFound(NotFound):
    """No pool has this id or name."""

    code = "pool_not_found"

    @classmethod
    def of(cls, pool: str, known: Sequence[str] | None = None) -> PoolNotFound:
        """Build the error from what was asked for and the names of the pools that exist (None: nobody looked)."""
        have = f"{did_you_mean(pool, known)}Pools that exist: {', '.join(sorted(known)[:20])}. " if known else ""
        remedy = f"{have}'mahavishnu pools list' shows them."
        if known is not None and not known:
            remedy = "No pool exists yet. Make one with 'mahavishnu pools spawn --name NAME'."
        return cls(f"No pool has the id or name {short(pool)}. {remedy}", pool=pool, known=sorted(known or ()))


class PoolGone(NotFound):
    """The pool existed and was closed."""

    code = "pool_gone"

    @classmethod
    def of(cls, pool: str) -> PoolGone:
        """Build the error from the id or name of the closed pool."""
        return cls(f"The pool {short(pool)} was closed. Name another pool, or spawn it again.", pool=pool)


class TaskNotFound(NotFound):
    """No task has this id, or its record has expired."""

    code = "task_not_found"

    @classmethod
    def of(cls, task_id: str) -> TaskNotFound:
        """Build the error from the task's id."""
        text = f"No task has the id {short(task_id)}. It was never submitted here, or its record has expired."
        return cls(text, task_id=task_id)


class BatchNotFound(NotFound):
    """No batch has this id, or its record has expired."""

    code = "batch_not_found"

    @classmethod
    def of(cls, batch_id: str) -> BatchNotFound:
        """Build the error from the batch's id."""
        text = f"No batch has the id {short(batch_id)}. It was never started here, or its record has expired."
        return cls(text, batch_id=batch_id)


class DeadLetterNotFound(NotFound):
    """No dead letter has this id."""

    code = "dead_letter_not_found"

    @classmethod
    def of(cls, letter_id: str) -> DeadLetterNotFound:
        """Build the error from the id."""
        return cls(
            f"No dead letter has the id {short(letter_id)}. 'mahavishnu pools dead list' shows them.", task_id=letter_id
        )


class ScheduleNotFound(NotFound):
    """No schedule has this name."""

    code = "schedule_not_found"

    @classmethod
    def of(cls, name: str) -> ScheduleNotFound:
        """Build the error from the name."""
        return cls(f"No schedule has the name {short(name)}. 'mahavishnu schedule list' shows them.", name=name)


class NoPoolAvailable(NotFound):
    """No pool can take the task; ``reasons`` says why each one was left out."""

    code = "no_pool_available"

    @classmethod
    def of(cls, reasons: Mapping[str, str]) -> NoPoolAvailable:
        """Build the error from a mapping of pool name to the reason it was left out."""
        if not reasons:
            return cls("No pool exists. Make one with 'mahavishnu pools spawn --name NAME'.", reasons={})
        listed = "; ".join(f"{name}: {reason}" for name, reason in sorted(reasons.items())[:20])
        text = f"No pool can take this task. {listed}. Change the filter, or spawn a pool that fits."
        return cls(text, reasons=dict(reasons))


# ── unavailable ──────────────────────────────────────────────────────────────────────────────────────────────────────


class StackNotRunning(Unavailable):
    """No Redis is configured and no local stack is running."""

    code = "stack_not_running"

    def __init__(self, message: str = "") -> None:
        super().__init__(
            message
            or "No stack is running here. Start one with 'mahavishnu up', or name a server in MAHAVISHNU_REDIS_URL."
        )


class RedisUnavailable(Unavailable):
    """Redis does not answer, refuses the password, is too old or is set up in a way that cannot be used."""

    code = "redis_unavailable"


class RedisFull(RedisUnavailable):
    """Redis has no memory left for what was asked; work that runs goes on and its outcomes are still written."""

    code = "redis_full"


class NoAgent(Unavailable):
    """No node agent is running that could start the pool's workers."""

    code = "no_agent"


class PoolNotReady(Unavailable):
    """The pool's workers did not report ready in time; the message says what is known."""

    code = "pool_not_ready"


class StackPartFailed(Unavailable):
    """A part of the local stack could not be started."""

    code = "stack_part_failed"


class RemoteUnavailable(Unavailable):
    """A remote server gave no usable answer; ``maybe_ran`` tells whether what was asked may have been done."""

    code = "remote_unavailable"


class RemoteRefused(Unavailable):
    """A remote server refused what was asked (token, address, arguments); nothing was done."""

    code = "remote_refused"


class ClusterUnavailable(Unavailable):
    """A Kubernetes cluster cannot be reached, or does not answer as it should; ``cluster`` is its address."""

    code = "cluster_unavailable"


class ClusterRefused(InvalidInput):
    """A Kubernetes cluster refused what was asked, and would again.

    ``status`` is the HTTP status, ``reason`` the API's word for it (``Forbidden``, ``NotFound``, ``Invalid`` …).
    ``quota`` tells that a quota is used up, which may pass.
    """

    code = "cluster_refused"


class WaitTimeout(MahavishnuError):
    """The caller's own waiting time is over; the task goes on."""

    code = "wait_timeout"

    @classmethod
    def of(cls, what: str, seconds: float) -> WaitTimeout:
        """Build the error from what was waited for and for how long."""
        text = f"{what} was not there after {seconds:g} s. Nothing was cancelled; ask again later."
        return cls(text, seconds=seconds)


# ── outcomes, as AsyncResult shows them ──────────────────────────────────────────────────────────────────────────────


class TaskFailed(TaskOutcomeError):
    """The task ran and failed."""

    code = "task_failed"


class TaskTimeout(TaskOutcomeError):
    """The task ran longer than its timeout and was ended."""

    code = "task_timeout"


class TaskCancelled(TaskOutcomeError):
    """The task was cancelled."""

    code = "task_cancelled"


class TaskDead(TaskOutcomeError):
    """The task was given up and is in the dead-letter queue."""

    code = "task_dead"
