"""Which objects a pool's Deployment has in a cluster: told by what is there, not by today's settings. Pure.

Settings may have changed since the objects were made. The Deployment itself says what its Pods use; where it is gone
already, all there may be is named.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mahavishnu_pools.kube.deployments import types_name
from mahavishnu_pools.kube.objects import Manifest, base_name, kubernetes_of
from mahavishnu_pools.kube.scaling import autoscaler, scales
from mahavishnu_pools.schemas.pool import PoolConfig

_SCALERS = ("HorizontalPodAutoscaler", "ScaledObject")


@dataclass(frozen=True, slots=True)
class PoolObject:
    """One object. ``certain``: it was made there; without, it may have been, by other settings or another limit."""

    kind: str
    name: str
    certain: bool = True


def pool_objects(config: PoolConfig, deployment: Manifest | None) -> tuple[PoolObject, ...]:
    """Return the objects in the order in which they are to be removed; ``deployment`` None: it is gone."""
    name = base_name(config)
    kind = autoscaler(config, pool_id=None, least=1)["kind"] if scales(config) else None
    # First: it would make Pods while others go.
    found = [PoolObject(one, name, certain=one == kind) for one in _SCALERS]
    found += [PoolObject(one, name) for one in ("Deployment", "PodDisruptionBudget", "ConfigMap")]
    return (*found, *_of_settings(config, deployment), *_account(config))


def _of_settings(config: PoolConfig, deployment: Manifest | None) -> Iterator[PoolObject]:
    name, types = base_name(config), types_name(config)
    if deployment is not None:
        secrets, config_maps = _used(deployment)
        if name in secrets:
            yield PoolObject("Secret", name)
        if types in config_maps:
            yield PoolObject("ConfigMap", types)
        return
    own = kubernetes_of(config).redis_url_secret
    # A Secret of the user's is never removed, whatever its name is.
    if own is None or own.name != name:
        yield PoolObject("Secret", name, certain=own is None)
    yield PoolObject("ConfigMap", types)


def _used(deployment: Manifest) -> tuple[set[str], set[str]]:
    """Return the names of the Secrets and ConfigMaps that were given to the Pods as a whole."""
    spec = ((deployment.get("spec") or {}).get("template") or {}).get("spec") or {}
    sources = [one for container in spec.get("containers") or [] for one in container.get("envFrom") or []]
    secrets = {str(one["secretRef"].get("name")) for one in sources if one.get("secretRef")}
    return secrets, {str(one["configMap"].get("name")) for one in spec.get("volumes") or [] if one.get("configMap")}


def _account(config: PoolConfig) -> Iterator[PoolObject]:
    if kubernetes_of(config).service_account is None:
        yield PoolObject("ServiceAccount", base_name(config))
