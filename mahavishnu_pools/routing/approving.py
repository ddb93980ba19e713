"""Approving of a task that awaits it: its pool is chosen anew, as it was wished when it was submitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mahavishnu_pools.routing.chooser import Chooser, Wish
from mahavishnu_pools.routing.eligibility import Need
from mahavishnu_pools.routing.wishes import restored
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.schemas.task import TaskSpec
from mahavishnu_pools.store.approvals import Word, approve, read_gate

if TYPE_CHECKING:
    from mahavishnu_pools.schemas.approval import Decision
    from mahavishnu_pools.store.calls import Call
    from mahavishnu_pools.store.steps import Steps

#: Stands for the choice where nothing is left to be chosen: the script answers before it looks at it.
_NONE = Choice("least_loaded")


def approve_task(chooser: Chooser, task_id: str, word: Word, *, pool: str | None, result_ttl: float) -> Steps[Decision]:
    """Let a task run; ``pool`` (id or name) is another one than it was submitted for.

    Raises:
        TaskNotFound, InvalidField, AlreadyDecided: nothing is to be approved of.
        PoolNotFound, PoolGone, NoPoolAvailable, MissingProgram: no pool can take it; it still awaits approval.
    """
    gate = yield read_gate(task_id)
    if gate.decision != "awaiting":
        told: Decision = yield approve(task_id, word, _NONE, result_ttl=result_ttl)
        return told
    wish = Wish(pool or gate.pool) if pool is not None or gate.wish is None else restored(gate.wish)
    need = Need.of(TaskSpec.model_validate_json(gate.spec, extra="ignore"))

    def call(choice: Choice) -> Call[Decision]:
        return approve(task_id, word, choice, result_ttl=result_ttl)

    return (yield from chooser.choose(need, wish, call))
