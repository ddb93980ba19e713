"""Which pools a prompt is not routed to although they could take it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mahavishnu_pools.schemas.batch_payloads import JUDGE

if TYPE_CHECKING:
    from mahavishnu_pools.routing.eligibility import Need, View
    from mahavishnu_pools.store.pools import PoolRecord

#: Task types that are a prompt for the pool's worker type.
PROMPTS = frozenset({"prompt", JUDGE})


def command_types(view: View) -> frozenset[str]:
    """Return the worker types that take a prompt for a command; one that only its node knows counts as AI."""
    return frozenset(name for name, kind in view.worker_types.items() if not kind.ai)


def takes_commands(pool: PoolRecord) -> str | None:
    """Return why a pool of such a type gets no prompt unasked, or None."""
    if pool.config.delegates:
        return None
    meant = f"if that is meant, name the pool or the worker type {pool.worker_type}"
    return f"its worker type {pool.worker_type} would run the prompt as a command ({meant})"


def waits_for_login(view: View, pool: PoolRecord, need: Need) -> str | None:
    """Return why a prompt would only wait in a pool for a login, or None."""
    kind = need.worker_type or pool.worker_type
    if need.task_type not in PROMPTS or need.celery or kind is None or pool.config.runs_elsewhere:
        return None
    nodes = view.nodes_of(pool)
    if not nodes or not all(kind in node.logged_out for node in nodes):
        return None
    return f"its prompts wait for a login on node {nodes[0].name}: {nodes[0].logged_out[kind]}"
