"""Values about tasks that come after others: how those ended, and what they hand on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import JsonValue

from mahavishnu_pools.schemas.base import MappingValue

#: What becomes of a task when one it comes after does not complete.
OnParentFailure = Literal["skip", "fail", "run"]

#: Tasks that one task may come after.
PARENTS_MOST = 400

#: What a task may be called within its batch, and where its result is asked for.
NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"


class Parent(MappingValue):
    """A task that another one comes after. ``status`` is its outcome's, None while it has none."""

    task_id: str
    status: str | None = None


class Dependencies(MappingValue):
    """What a task comes after, as its record says.

    ``waits`` counts those that have no outcome yet. ``ended_by`` is the one because of which it was not run,
    ``held_up`` says why no pool takes it although it waits for no task any more.
    """

    parents: tuple[Parent, ...]
    on_parent_failure: OnParentFailure
    waits: int
    ended_by: str | None = None
    held_up: str | None = None

    @classmethod
    def of_record(cls, record: Mapping[str, str]) -> Dependencies | None:
        """Return what a task's record says; None when it comes after nothing."""
        if "after" not in record:
            return None
        parents = tuple(Parent(task_id=one, status=record.get(f"p:{one}") or None) for one in record["after"].split())
        return cls.model_validate(
            {
                "parents": parents,
                "on_parent_failure": record.get("on_parent", "skip"),
                "waits": sum(one.status is None for one in parents),
                "ended_by": record.get("ended_by"),
                "held_up": record.get("held_up"),
            }
        )


class Relative(MappingValue):
    """A task that another one comes after, or that comes after it. ``status`` is None when its record is gone."""

    task_id: str
    status: str | None = None
    name: str | None = None


class Relatives(MappingValue):
    """The tasks around one in its graph: those it comes after, ``parents_total`` in all, and those that come after it.

    Of the parents some are told, those first that have not ended; ``more_children`` says that not all children are.
    """

    parents: tuple[Relative, ...] = ()
    parents_total: int = 0
    children: tuple[Relative, ...] = ()
    more_children: bool = False


class ParentResult(MappingValue):
    """What a task is told of one it comes after.

    ``truncated``: something of it was too long to be handed on whole. ``expired``: its result was not kept so long.
    """

    task_id: str
    name: str | None = None
    status: str
    output: str | None = None
    value: JsonValue = None
    error: str | None = None
    exit_code: int | None = None
    truncated: bool = False
    expired: bool = False
