"""What a caller gave that cannot be used."""

from __future__ import annotations

from collections.abc import Sequence

from mahavishnu_pools.errors.root import InvalidInput
from mahavishnu_pools.wording import did_you_mean, short

#: How near a name must be to be offered beside the list of all of them.
_NEAR = 0.7


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
        text = f"Unknown {kind} {short(given)}. {did_you_mean(given, known, nearness=_NEAR)}Use one of: {names}."
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


class ScheduleBusy(InvalidInput):
    """A schedule's runs are not to overlap, and the last one has not ended."""

    code = "schedule_busy"

    @classmethod
    def of(cls, name: str, task_id: str) -> ScheduleBusy:
        """Build the error from the schedule's name and the id of its last run."""
        remedy = f"Wait for it, or cancel it: mahavishnu pools cancel {task_id}"
        return cls(
            f"The last run of schedule {name!r} ({task_id}) has not ended, and its runs do not overlap. {remedy}",
            name=name,
            task_id=task_id,
        )


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
