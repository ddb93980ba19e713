"""The settings that the Pods of a deployment run with, made of those of whoever spawns the pool."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from mahavishnu_pools import errors
from mahavishnu_pools.kube.objects import kubernetes_of
from mahavishnu_pools.schemas.pool import PoolConfig
from mahavishnu_pools.settings import Settings

#: Settings that all workers of an installation share; the others are those of one machine.
_SHARED = (
    *("namespace", "default_worker_type", "imports", "celery_app", "python_callables"),
    *("max_payload_bytes", "max_output_bytes", "max_log_bytes", "result_expires", "dead_letter_expires"),
    *("submit_timeout", "kill_grace", "lease_ttl", "node_lost_after", "node_heartbeat", "frozen_after"),
    *("failover_after", "durability", "memory_aggregation_enabled", "memory_sync_interval"),
)

#: Seconds an agent may take, beside the drain and the grace of its tasks, to end its groups and to leave.
END_MARGIN = 20.0

#: The longest time a Pod gets to end, in seconds.
_LONGEST_GRACE = 7 * 86400

#: Names of this machine, which in a Pod is another one.
_LOOPBACK = frozenset({"localhost", "ip6-localhost", "::1", "0.0.0.0"})


@dataclass(frozen=True, slots=True)
class PodSettings:
    """What goes into the ConfigMap (``variables``, and ``worker_types`` as a file) and the Secret (``secrets``).

    ``grace`` is how many seconds a Pod gets to end.
    """

    variables: Mapping[str, str] = field(repr=False)
    secrets: Mapping[str, str] = field(repr=False)
    grace: int
    worker_types: str | None = None


def pod_settings(config: PoolConfig, settings: Settings) -> PodSettings:
    """Return the settings of a pool's Pods.

    Raises:
        InvalidField: Pods cannot reach Redis where it is configured.
        InvalidConfig: the file with worker types cannot be read.
    """
    kubernetes = kubernetes_of(config)
    drain = settings.drain_timeout if kubernetes.grace_period is None else float(kubernetes.grace_period)
    defaults = {name: field.get_default(call_default_factory=True) for name, field in Settings.model_fields.items()}
    variables = {
        _variable(name): _text(getattr(settings, name)) for name in _SHARED if getattr(settings, name) != defaults[name]
    }
    variables[_variable("drain_timeout")] = _text(drain)
    variables[_variable("only_pool")] = config.name
    variables[_variable("node_region")] = config.region
    return PodSettings(
        variables=variables,
        secrets=_secrets(config, settings),
        grace=min(_LONGEST_GRACE, math.ceil(drain + settings.kill_grace + END_MARGIN)),
        worker_types=_worker_types(settings),
    )


def _secrets(config: PoolConfig, settings: Settings) -> dict[str, str]:
    found: dict[str, str] = {}
    if kubernetes_of(config).redis_url_secret is None:
        found[_variable("redis_url")] = _redis_url(settings)
    if settings.message_signing_key is not None:
        found[_variable("message_signing_key")] = settings.message_signing_key.get_secret_value()
    return found


def _redis_url(settings: Settings) -> str:
    given = settings.kubernetes_redis_url or settings.redis_url
    problem = "is not set, and Pods cannot reach the Redis of a local stack" if given is None else _unreachable(given)
    if given is None or problem is not None:
        raise errors.InvalidField.of(
            "kubernetes_redis_url",
            str(problem),
            "Set MAHAVISHNU_KUBERNETES_REDIS_URL to Redis as Pods reach it, or name a Secret with its URL in "
            "redis_url_secret.",
        )
    return given.get_secret_value()


def _unreachable(url: SecretStr) -> str | None:
    text = url.get_secret_value()
    if text.startswith("unix:"):
        return "is a socket of this machine, which Pods cannot reach"
    # The hosts of a Sentinel URL may be several; the first one stands for them.
    host = (urlsplit(text.split(",")[0]).hostname or "") if "://" in text else ""
    if host in _LOOPBACK or host.startswith("127."):
        return f"names {host}, which in a Pod is the Pod itself"
    return None


def _worker_types(settings: Settings) -> str | None:
    if settings.worker_types_file is None:
        return None
    try:
        return settings.worker_types_file.expanduser().read_text()
    except (OSError, UnicodeError) as exc:
        raise errors.InvalidConfig(
            f"worker_types_file: {settings.worker_types_file} cannot be read: {exc}.", setting="worker_types_file"
        ) from exc


def _variable(name: str) -> str:
    return f"MAHAVISHNU_{name.upper()}"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return json.dumps([str(one) if isinstance(one, PurePath) else one for one in value])
    return f"{value:.15g}" if isinstance(value, float) else str(value)
