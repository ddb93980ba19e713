"""What a caller named and is not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mahavishnu_pools.errors.root import NotFound
from mahavishnu_pools.wording import did_you_mean, short


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
        text = f"No pool can take this task. {listed}. Change what it asks for, or spawn a pool that fits."
        return cls(text, reasons=dict(reasons))
