"""Refuses pools that could come up but run nothing, and says why one did not come up."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.container import is_image
from mahavishnu_pools.wording import short

if TYPE_CHECKING:
    from mahavishnu_pools.schemas.pool import PoolConfig
    from mahavishnu_pools.store.pools import PoolRecord
    from mahavishnu_pools.worker_types import WorkerType


class PoolWarning(UserWarning):
    """A pool can be used, but not as its configuration asks."""


def check_config(config: PoolConfig, *, kinds: Mapping[str, WorkerType]) -> None:
    """Refuse what can be seen from a configuration alone; ``kinds`` are the worker types known here.

    Raises:
        InvalidField: a directory is relative, or there is no image for a worker type that needs one.
    """
    for root in config.allowed_roots or ():
        if not Path(root).is_absolute():
            raise errors.InvalidField.of("allowed_roots", f"{short(root)} is no absolute path", "Begin it with '/'.")
    if config.isolation in ("lock", "worktree") and (config.runs_elsewhere or config.kubernetes is not None):
        problem = f"{config.isolation} cannot be had by pools of type {config.pool_type}"
        raise errors.InvalidField.of("isolation", problem, "Leave it out, or use a pool of type mahavishnu.")
    kind = kinds.get(config.worker_type or "")
    if kind is None or kind.container is None or config.kubernetes is not None:
        return
    image = config.extra_config.get("container_image") or kind.container.image
    if image is None:
        problem = f"is missing, and worker type {kind.name!r} has none of its own"
        raise errors.InvalidField.of("container_image", problem, "Give one in extra_config, such as python:3.13-slim.")
    if not is_image(image):
        problem = f"{short(image)} is no image reference"
        raise errors.InvalidField.of("container_image", problem, "Give one such as python:3.13-slim.")


def check_placement(config: PoolConfig, fits: Sequence[str], *, here: str) -> None:
    """Refuse directories that are not there, where that can be seen, and warn of too few nodes.

    ``fits`` are the nodes that may run it, ``here`` is this machine.

    Raises:
        InvalidField: only this machine may run it and lacks one of its directories.
    """
    if list(fits) == [here]:
        for root in config.allowed_roots or ():
            if not os.path.isdir(root):
                problem = f"{short(root)} is no directory on node {here}"
                raise errors.InvalidField.of("allowed_roots", problem, "Make it, or name another one.")
    if config.replicas > len(fits):
        text = f"replicas is {config.replicas}, but only {', '.join(fits)} can run pool {config.name!r} now."
        warnings.warn(f"{text} It starts there, and on others as they join.", PoolWarning, stacklevel=2)


def unknown_to_agent(kind: WorkerType, *, node: str) -> errors.NoAgent:
    """Return the error for a worker type that is known and installed here, but not to the agent of this machine."""
    return errors.NoAgent(
        f"The agent of node {node} does not know worker type {kind.name!r}, or does not find {kind.needs}: it was "
        "started with another worker_types_file, or another PATH. End it ('mahavishnu down') and start it again here "
        "('mahavishnu up').",
        worker_type=kind.name,
        node=node,
    )


def not_up(
    pool: PoolRecord | None, *, name: str, failed: bool, seconds: float, trouble: str | None = None
) -> errors.MahavishnuError:
    """Return the error for a pool that did not come up: what was asked of its workers, else that they were not ready.

    ``failed``: it will not come up any more; else ``seconds`` have passed. ``trouble`` is what is known from outside.
    """
    refused = next((one for one in pool.groups if (one.reason or "").startswith(_REFUSED)), None) if pool else None
    if failed and refused is not None and refused.reason is not None:
        text = refused.reason.removeprefix(_REFUSED)
        return errors.InvalidConfig(f"{text} (Pool {name!r} on node {refused.node}.)", pool=name, node=refused.node)
    when = f"failed ({_said(pool)})" if failed else f"were not ready after {seconds:g} s ({_said(pool)})"
    more = f" {trouble}" if trouble else " 'mahavishnu logs agent' says more."
    message = f"The workers of pool {name!r} {when}.{more}"
    return errors.PoolNotReady(message, pool_id=pool.pool_id if pool else None)


#: What a group's reason begins with when it refused its configuration.
_REFUSED = f"{errors.InvalidConfig.__name__}: "


def _said(pool: PoolRecord | None) -> str:
    if pool is None:
        return "nothing is known of it"
    groups = [
        f"{group.node}: {group.status}" + (f", {group.reason}" if group.reason else "")
        for group in pool.groups
        if not (group.reason and pool.reason and group.reason in pool.reason)
    ]
    taken = f"assigned to {', '.join(pool.assigned)}" if pool.assigned else "no node has taken it"
    where = "; ".join(groups) or ("" if pool.groups else taken)
    return "; ".join(part for part in (pool.reason, where) if part)
