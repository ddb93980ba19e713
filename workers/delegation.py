"""Opens the bridge of a pool that delegates, and keeps the pool's record up to date about its server."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.pool import ENDED_STATUSES, SESSION_BUDDY, PoolConfig, PoolStatus
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store.client import SyncStore
from mahavishnu_pools.store.pools import change_pool, read_pools
from mahavishnu_pools.store.tasks import read_tasks

from .executors.delegate import Delegate
from .executors.environment import read_secrets
from .executors.interface import Refused
from .executors.registry import DELEGATE, JOBS
from .executors.remote_pool import Endpoint

if TYPE_CHECKING:
    from .executors.job_bridge import JobBridge

#: What runs a pool's tasks elsewhere.
Bridge: TypeAlias = "Delegate | JobBridge"

logger = logging.getLogger(__name__)


def open_delegate(config: PoolConfig, settings: Settings, store: SyncStore, *, pool_id: str) -> Bridge | None:
    """Return the bridge of a pool with its remote pool made, None for pools that run their tasks themselves.

    Raises:
        RemoteUnavailable, RemoteRefused: the server does not answer, or is none with pools.
        ClusterUnavailable, ClusterRefused: the cluster cannot be used.
        InvalidConfig: the pool's token is not in the secrets file of this node.
    """

    def report(trouble: str | None) -> None:
        _set_health(store, pool_id, trouble)

    if config.runs_jobs:
        return _open_jobs(config, store, pool_id=pool_id, report=report)
    if config.pool_type != SESSION_BUDDY:
        return None
    delegate = Delegate(endpoint_of(config, settings), pool_id, report=report)
    delegate.start()
    return delegate


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
    own = settings.session_buddy_token if url == settings.session_buddy_pool_url else None
    token = _secret(name, settings) if name else own.get_secret_value() if own else None
    return Endpoint(url, token=token, ca_file=ca_file)


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


def _set_health(store: SyncStore, pool_id: str, trouble: str | None) -> None:
    before, after = (PoolStatus.RUNNING, PoolStatus.DEGRADED) if trouble else (PoolStatus.DEGRADED, PoolStatus.RUNNING)
    try:
        store.run(change_pool(pool_id, only_if=(before,), status=after, reason=trouble or ""))
    except (errors.PoolNotFound, errors.InvalidField) as exc:
        # It is paused, closing or gone: people's word counts more.
        logger.debug("The status of %s stays: %s", pool_id, exc)
