"""What this program must be allowed in a cluster: the least that each way of running a pool needs. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mahavishnu_pools.schemas.kubernetes import KubernetesConfig


@dataclass(frozen=True, slots=True)
class Right:
    """Verbs on one resource of an API group (``""`` is the core); ``everywhere``: of the whole cluster."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    everywhere: bool = False


#: What runs a task as a Job: it makes Jobs, watches them and their Pods, reads their output, and removes them. Prompts
#: and secrets go into Secrets, which belong to their Job and go with it.
JOB_RIGHTS = (
    Right("batch", "jobs", ("create", "get", "list", "watch", "delete")),
    Right("", "pods", ("get", "list", "watch")),
    Right("", "pods/log", ("get",)),
    Right("", "secrets", ("create",)),
)

#: What applying, changing and removing an object takes; and the same where its status is looked at, too.
_APPLY = ("create", "patch", "delete")
_APPLY_AND_SEE = ("get", *_APPLY)

#: What spawns, scales and closes pools whose workers are a Deployment.
DEPLOYMENT_RIGHTS = (
    Right("apps", "deployments", _APPLY_AND_SEE),
    Right("", "configmaps", _APPLY),
    Right("", "serviceaccounts", _APPLY),
    Right("policy", "poddisruptionbudgets", _APPLY),
    Right("", "pods", ("list",)),
)

_SECRETS = Right("", "secrets", _APPLY)
_HPA = Right("autoscaling", "horizontalpodautoscalers", _APPLY_AND_SEE)
_KEDA = Right("keda.sh", "scaledobjects", _APPLY_AND_SEE)
_NAMESPACES = Right("", "namespaces", ("get", "create"), everywhere=True)


def rights_of(config: KubernetesConfig, *, auto_scale: bool = True) -> tuple[Right, ...]:
    """Return what whoever spawns and runs a pool of this configuration must be allowed."""
    return tuple(_rights(config, auto_scale))


def _rights(config: KubernetesConfig, auto_scale: bool) -> Iterator[Right]:
    if config.create_namespace:
        yield _NAMESPACES
    if config.mode == "job":
        yield from JOB_RIGHTS
        return
    yield from DEPLOYMENT_RIGHTS
    if config.redis_url_secret is None:
        yield _SECRETS
    if auto_scale and config.autoscaling != "none":
        yield _HPA if config.autoscaling == "hpa" else _KEDA
