"""How many Pods a deployment has, and who decides it: the autoscaler's manifests. Pure."""

from __future__ import annotations

import json
import math
from typing import Any

from mahavishnu_pools.kube.naming import label_value
from mahavishnu_pools.kube.objects import Manifest, base_name, head, kubernetes_of
from mahavishnu_pools.schemas.pool import PoolConfig

#: Exported metrics of a pool: tasks that wait, and tasks that run. Without the second one, Pods that
#: work off the last tasks would be taken away.
LOAD_METRICS = ("mahavishnu_pools_queued_tasks", "mahavishnu_pools_running_tasks")

#: What both kinds of autoscaler scale.
_TARGET = {"apiVersion": "apps/v1", "kind": "Deployment"}


def scales(config: PoolConfig) -> bool:
    """Tell whether the cluster scales the pool's Deployment."""
    return config.auto_scale and kubernetes_of(config).autoscaling != "none"


def pods_for(config: PoolConfig, workers: int) -> int:
    """Return how many Pods it takes for so many workers."""
    return math.ceil(workers / kubernetes_of(config).workers_per_pod)


def autoscaler(config: PoolConfig, *, pool_id: str | None, least: int) -> Manifest:
    """Return what keeps the Pods between those for ``least`` workers and those for the pool's most."""
    kind = _hpa if kubernetes_of(config).autoscaling == "hpa" else _scaled_object
    return kind(config, pool_id=pool_id, least=least)


def _hpa(config: PoolConfig, *, pool_id: str | None, least: int) -> Manifest:
    spec = {
        "scaleTargetRef": {**_TARGET, "name": base_name(config)},
        "minReplicas": pods_for(config, least),
        "maxReplicas": pods_for(config, config.max_workers),
        "metrics": _metrics(config),
        "behavior": _behaviour(config),
    }
    return {**head("HorizontalPodAutoscaler", "autoscaling/v2", config, pool_id=pool_id), "spec": spec}


def _metrics(config: PoolConfig) -> list[Manifest]:
    """Return what is looked at; of several the autoscaler follows the one that asks for the most Pods."""
    kubernetes = kubernetes_of(config)
    if kubernetes.metric == "cpu":
        target = {"type": "Utilization", "averageUtilization": kubernetes.target_cpu}
        return [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    return [_external(config, name) for name in LOAD_METRICS]


def _external(config: PoolConfig, name: str) -> Manifest:
    metric = {"name": name, "selector": {"matchLabels": {"pool": label_value(config.name)}}}
    target = {"type": "AverageValue", "averageValue": _per_pod(config)}
    return {"type": "External", "external": {"metric": metric, "target": target}}


def _per_pod(config: PoolConfig) -> str:
    """Return how many tasks a Pod should have, as a quantity."""
    kubernetes = kubernetes_of(config)
    return f"{max(1, round(kubernetes.target_load * kubernetes.workers_per_pod * 1000))}m"


def _behaviour(config: PoolConfig) -> dict[str, Any]:
    return {"scaleDown": {"stabilizationWindowSeconds": kubernetes_of(config).scale_down_seconds}}


def _scaled_object(config: PoolConfig, *, pool_id: str | None, least: int) -> Manifest:
    kubernetes = kubernetes_of(config)
    spec = {
        "scaleTargetRef": {**_TARGET, "name": base_name(config)},
        "minReplicaCount": pods_for(config, least),
        "maxReplicaCount": pods_for(config, config.max_workers),
        "pollingInterval": 15,
        "cooldownPeriod": kubernetes.scale_down_seconds,
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _behaviour(config)}},
        "triggers": [_trigger(config)],
    }
    return {**head("ScaledObject", "keda.sh/v1alpha1", config, pool_id=pool_id), "spec": spec}


def _trigger(config: PoolConfig) -> Manifest:
    kubernetes = kubernetes_of(config)
    if kubernetes.metric == "cpu":
        return {"type": "cpu", "metricType": "Utilization", "metadata": {"value": str(kubernetes.target_cpu)}}
    threshold = kubernetes.target_load * kubernetes.workers_per_pod
    metadata = {
        "serverAddress": kubernetes.prometheus_url,
        "query": " + ".join(f"sum({name}{{pool={json.dumps(config.name)}}})" for name in LOAD_METRICS),
        "threshold": f"{threshold:.15g}",
    }
    return {"type": "prometheus", "metadata": metadata}
