"""Opens the bridge of a pool that delegates, and keeps the pool's record up to date about its server."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.pool import ENDED_STATUSES, REMOTE, SESSION_BUDDY, PoolConfig, PoolStatus
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store.client import SyncStore
from mahavishnu_pools.store.delegated import read_instance_id
from mahavishnu_pools.store.pools import change_pool, read_pools
from mahavishnu_pools.store.tasks import read_tasks

from .delegated_ledger import StoreLedger
from .executors.delegate import Delegate
from .executors.environment import read_secrets
from .executors.far_bridge import PATIENCE, BridgePlace, FarBridge
from .executors.far_instance import PoolChoice
from .executors.interface import Refused
from .executors.registry import DELEGATE, FAR, JOBS
from .executors.remote_pool import Endpoint

if TYPE_CHECKING:
    from .executors.job_bridge import JobBridge

#: What runs a pool's tasks elsewhere.
Bridge: TypeAlias = "Delegate | FarBridge | JobBridge"

#: A pool in one of these states has never run.
_NEW = (PoolStatus.PENDING, PoolStatus.INITIALIZING)

logger = logging.getLogger(__name__)


def open_delegate(config: PoolConfig, settings: Settings, store: SyncStore, *, pool_id: str) -> Bridge | None:
    """Return the bridge of a pool with its remote pool made, None for pools that run their tasks themselves.

    Raises:
        RemoteUnavailable, RemoteRefused: the server does not answer, or is none with pools.
        ClusterUnavailable, ClusterRefused: the cluster cannot be used.
        InvalidConfig: the pool's token is not in the secrets file or the environment of this node.
    """

    def report(trouble: str | None, renew: bool = False) -> None:
        _set_health(store, pool_id, trouble, renew=renew)

    if config.runs_jobs:
        return _open_jobs(config, store, pool_id=pool_id, report=report)
    if config.pool_type == REMOTE:
        return _open_far(config, settings, store, pool_id=pool_id, report=report)
    if config.pool_type != SESSION_BUDDY:
        return None
    delegate = Delegate(endpoint_of(config, settings), pool_id, report=report)
    delegate.start()
    return delegate


def _open_far(
    config: PoolConfig,
    settings: Settings,
    store: SyncStore,
    *,
    pool_id: str,
    report: Callable[[str | None, bool], None],
) -> FarBridge:
    given = config.extra_config
    choice = PoolChoice(given.get("remote_pool"), tuple(given.get("remote_tags") or ()))
    place = BridgePlace(store.run(read_instance_id()), pool_id, float(given.get("patience") or PATIENCE))
    # A mistake in a new pool is told to whoever spawns it; later the instance may well be away for a while.
    new = store.run(read_pools(pool_id)).one(pool_id).status in _NEW
    ledger = StoreLedger(store, pool_id)
    bridge = FarBridge(endpoint_of(config, settings), choice, place, ledger=ledger, report=report)
    bridge.start(strict=new)
    return bridge


def _open_jobs(
    config: PoolConfig, store: SyncStore, *, pool_id: str, report: Callable[[str | None], None]
) -> JobBridge:
    # Late, because it brings the client of Kubernetes, which only these bridges need.
    from .executors.job_bridge import JobBridge

    def ended(tasks: Sequence[str]) -> set[str]:
        results = store.run(read_tasks(tasks))
        return {one for one, found in zip(tasks, results, strict=True) if found is None or found.done}

    bridge = JobBridge(config, pool_id, report=report, ended=ended)
    bridge.start()
    return bridge


def service_of(bridge: Bridge) -> str:
    """Return the name under which executors find a bridge."""
    if isinstance(bridge, FarBridge):
        return FAR
    return DELEGATE if isinstance(bridge, Delegate) else JOBS


def retire(delegate: Bridge, store: SyncStore, pool_id: str) -> None:
    """Close a bridge; of a pool that has ended nothing stays on the server, if that can be reached."""
    try:
        ended = store.run(read_pools(pool_id)).one(pool_id).status in ENDED_STATUSES
    except errors.PoolNotFound:
        ended = True
    except errors.RedisUnavailable:
        ended = False
    delegate.close(delete=ended)


def endpoint_of(config: PoolConfig, settings: Settings) -> Endpoint:
    """Return where a pool delegates to. The token in the settings goes to the settings' own server only.

    Raises:
        InvalidConfig: see ``open_delegate``.
    """
    url = config.endpoint or settings.session_buddy_pool_url
    name, ca_file = config.extra_config.get("token_secret"), config.extra_config.get("ca_file")
    if variable := config.extra_config.get("token_env"):
        return Endpoint(url, token=_variable(variable), ca_file=ca_file)
    own = settings.session_buddy_token if url == settings.session_buddy_pool_url else None
    token = _secret(name, settings) if name else own.get_secret_value() if own else None
    return Endpoint(url, token=token, ca_file=ca_file)


def _variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise errors.InvalidConfig(
            f"extra_config: token_env: the variable {name!r} is not set where this node's agent was started. "
            "Set it and start the agent again, or name a line of secrets.env (token_secret)."
        )
    return value


def _secret(name: str, settings: Settings) -> str:
    path = settings.data_dir / "secrets.env"
    try:
        known = read_secrets(path)
    except Refused as exc:
        raise errors.InvalidConfig(exc.message) from exc
    if name not in known:
        raise errors.InvalidConfig(
            f"extra_config: token_secret: {name!r} is not in {path}. Add a line NAME=VALUE there."
        )
    return known[name]


def _set_health(store: SyncStore, pool_id: str, trouble: str | None, *, renew: bool) -> None:
    before, after = (PoolStatus.RUNNING, PoolStatus.DEGRADED) if trouble else (PoolStatus.DEGRADED, PoolStatus.RUNNING)
    only_if = (before, after) if renew and trouble else (before,)
    try:
        store.run(change_pool(pool_id, only_if=only_if, status=after, reason=trouble or ""))
    except (errors.PoolNotFound, errors.InvalidField) as exc:
        # It is paused, closing or gone: people's word counts more.
        logger.debug("The status of %s stays: %s", pool_id, exc)
