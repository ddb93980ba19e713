"""Refuses a judge that could not be called, before the candidates run for nothing. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mahavishnu_pools import errors
from mahavishnu_pools.callables import allowed_by, remedy_for
from mahavishnu_pools.schemas.batch_payloads import JUDGE_CALL

if TYPE_CHECKING:
    from mahavishnu_pools.routing.eligibility import View
    from mahavishnu_pools.schemas.task import TaskSpec
    from mahavishnu_pools.store.pools import NodeInfo


def refuse_call(view: View, judge: TaskSpec, *, pools: Sequence[str]) -> None:
    """Refuse a function that no node of the pools (ids or names; none: of any) may call, or finds the module of.

    A node that does not say what it may call counts as one that may.

    Raises:
        InvalidField: none may; the message says what to do.
    """
    if judge.task_type != JUDGE_CALL or "PYTHONPATH" in judge.env:  # with that, modules may be found that nobody sees
        return
    reference = str(judge.payload.get("callable", ""))
    nodes = _nodes(view, pools)
    if not nodes or any(one.callables is None or allowed_by(reference, one.callables) for one in nodes):
        return
    where = ", ".join(sorted({one.name for one in nodes}))
    problem = f"{reference!r} is not allowed, or its module is not installed, on {where}"
    raise errors.InvalidField.of("judge", problem, f"{remedy_for(reference)} Agents read it when they start.")


def _nodes(view: View, pools: Sequence[str]) -> list[NodeInfo]:
    named = [pool for one in pools if (pool := view.find(one)) is not None]
    return [node for pool in named or view.pools for node in view.nodes_of(pool)]
