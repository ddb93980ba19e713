"""Manifests of a pool whose worker groups run in a Deployment. Pure: what is wanted goes in, data comes out."""

from __future__ import annotations

import base64
import hashlib
import json

from mahavishnu_pools.kube import pods
from mahavishnu_pools.kube.objects import (
    Manifest,
    base_name,
    head,
    kubernetes_of,
    namespace_manifest,
    pool_labels,
    selector,
    without_nothing,
)
from mahavishnu_pools.kube.pod_settings import PodSettings
from mahavishnu_pools.kube.scaling import autoscaler, pods_for, scales
from mahavishnu_pools.schemas.kubernetes import OWN_PREFIX
from mahavishnu_pools.schemas.kubernetes_parts import Resources
from mahavishnu_pools.schemas.pool import PoolConfig

#: The container with the agent and its worker group.
CONTAINER = "worker"

#: What it runs: a node agent for this pool alone. It is the first process, so it waits for everybody's orphans.
COMMAND = ("python", "-P", "-m", "mahavishnu_workers.agent")

#: What the kubelet runs to know how it is; ``alive`` or ``ready`` follows.
PROBE = ("python", "-P", "-m", "mahavishnu_workers.agent.probe")

#: Where the agent keeps its state, where tasks begin, and where the ConfigMap is seen as files.
DATA, WORK, SETTINGS = "/var/lib/mahavishnu", "/workspace", "/etc/mahavishnu"

#: What a container is promised when nothing else is said: an autoscaler measures CPU against it.
DEFAULT_REQUESTS = {"cpu": "250m", "memory": "256Mi"}

_TYPES_FILE = "worker-types.yaml"
_REDIS_URL = "MAHAVISHNU_REDIS_URL"


def deployment_manifests(
    config: PoolConfig, given: PodSettings, *, pool_id: str | None = None, workers: int | None = None
) -> list[Manifest]:
    """Return all objects of a pool in the order in which they are applied.

    ``pool_id`` None: the pool is not there yet. ``workers`` is how many it is to have at least (None: its minimum).
    """
    kubernetes = kubernetes_of(config)
    least = config.min_workers if workers is None else workers
    found = [namespace_manifest(kubernetes.namespace)] if kubernetes.create_namespace else []
    found.extend(identity(config, pool_id=pool_id))
    found.append({**head("ConfigMap", "v1", config, pool_id=pool_id), "data": dict(given.variables)})
    if given.worker_types is not None:
        # Apart from the variables, which would otherwise be joined by one with the whole file.
        types = head("ConfigMap", "v1", config, pool_id=pool_id, name=types_name(config))
        found.append({**types, "data": {_TYPES_FILE: given.worker_types}})
    if given.secrets:
        # As the API keeps it: of ``stringData`` an apply could take nothing away again.
        data = {name: base64.b64encode(text.encode()).decode() for name, text in given.secrets.items()}
        found.append({**head("Secret", "v1", config, pool_id=pool_id), "type": "Opaque", "data": data})
    found.append(_deployment(config, given, pool_id=pool_id, least=least))
    found.append(_disruption_budget(config, pool_id=pool_id))
    if scales(config):
        found.append(autoscaler(config, pool_id=pool_id, least=least))
    return found


def identity(config: PoolConfig, *, pool_id: str | None = None) -> list[Manifest]:
    """Return the service account of a pool's Pods, which has no rights at all; nothing when the user named one."""
    if kubernetes_of(config).service_account is not None:
        return []
    return [{**head("ServiceAccount", "v1", config, pool_id=pool_id), "automountServiceAccountToken": False}]


def pod_of(deployment: Manifest) -> Manifest:
    """Return a Pod as the Deployment would have."""
    template, meta = deployment["spec"]["template"], deployment["metadata"]
    about = {**template["metadata"], "name": meta["name"], "namespace": meta["namespace"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": template["spec"]}


def types_name(config: PoolConfig) -> str:
    """Return the name of the ConfigMap with the user's own worker types."""
    return f"{base_name(config)}-types"


def _deployment(config: PoolConfig, given: PodSettings, *, pool_id: str | None, least: int) -> Manifest:
    # The number of Pods is the autoscaler's where there is one: who applied it too would fight it.
    replicas = {} if scales(config) else {"replicas": pods_for(config, least)}
    spec: Manifest = {
        **replicas,
        "selector": {"matchLabels": selector(config)},
        "revisionHistoryLimit": 3,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}},
        "template": _template(config, given),
    }
    return {**head("Deployment", "apps/v1", config, pool_id=pool_id), "spec": spec}


def _template(config: PoolConfig, given: PodSettings) -> Manifest:
    kubernetes = kubernetes_of(config)
    # Processes read settings when they start: other settings are other Pods.
    notes = {**kubernetes.annotations, f"{OWN_PREFIX}settings": _fingerprint(given)}
    spec: Manifest = {
        "serviceAccountName": kubernetes.service_account or base_name(config),
        "automountServiceAccountToken": kubernetes.service_account is not None,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": given.grace,
        "securityContext": pods.pod_security(kubernetes),
        **pods.placement(kubernetes),
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": selector(config)},
            }
        ],
        "containers": [_container(config, given)],
        "volumes": [*_own_volumes(config, given), *(pods.volume(one) for one in kubernetes.volumes)],
    }
    return {"metadata": {"labels": pool_labels(config), "annotations": notes}, "spec": spec}


def _container(config: PoolConfig, given: PodSettings) -> Manifest:
    kubernetes = kubernetes_of(config)
    promised = pods.resources(kubernetes) if kubernetes.resources != Resources() else {"requests": DEFAULT_REQUESTS}
    return without_nothing(
        {
            "name": CONTAINER,
            "image": kubernetes.image,
            "imagePullPolicy": kubernetes.image_pull_policy,
            "command": list(COMMAND),
            "workingDir": kubernetes.workdir or WORK,
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "envFrom": _env_from(config, given),
            "env": _env(config, given),
            "resources": promised,
            "securityContext": pods.container_security(kubernetes),
            "startupProbe": _probe("alive", period=2, failures=60),
            "livenessProbe": _probe("alive", period=20, failures=3),
            "readinessProbe": _probe("ready", period=5, failures=2),
            "volumeMounts": _mounts(config, given),
        }
    )


def _probe(about: str, *, period: int, failures: int) -> Manifest:
    return {
        "exec": {"command": [*PROBE, about]},
        "periodSeconds": period,
        "timeoutSeconds": 10,
        "failureThreshold": failures,
    }


def _env_from(config: PoolConfig, given: PodSettings) -> list[Manifest]:
    name = base_name(config)
    own: list[Manifest] = [{"configMapRef": {"name": name}}]
    if given.secrets:
        own.append({"secretRef": {"name": name}})
    # The user's come first: ours win where both have a variable.
    return [*pods.env_from(kubernetes_of(config).env_from), *own]


def _env(config: PoolConfig, given: PodSettings) -> list[Manifest]:
    kubernetes = kubernetes_of(config)
    roots = [kubernetes.workdir or WORK, *(one.mount_path for one in kubernetes.volumes)]
    own = {
        "HOME": DATA,
        "PYTHONDONTWRITEBYTECODE": "1",
        "MAHAVISHNU_DATA_DIR": DATA,
        "MAHAVISHNU_SETTINGS_FILE": "/dev/null",
        "MAHAVISHNU_ALLOWED_ROOTS": json.dumps(roots),
    }
    if given.worker_types is not None:
        own["MAHAVISHNU_WORKER_TYPES_FILE"] = f"{SETTINGS}/{_TYPES_FILE}"
    texts = {**own, **kubernetes.env}
    found: list[Manifest] = [{"name": name, "value": pods.literal(value)} for name, value in texts.items()]
    found.append(
        {"name": "MAHAVISHNU_NODE_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}
    )
    if kubernetes.redis_url_secret is not None:
        reference = {"name": kubernetes.redis_url_secret.name, "key": kubernetes.redis_url_secret.key}
        found.append({"name": _REDIS_URL, "valueFrom": {"secretKeyRef": reference}})
    return found


def _own_volumes(config: PoolConfig, given: PodSettings) -> list[Manifest]:
    taken = {one.mount_path for one in kubernetes_of(config).volumes}
    found: list[Manifest] = [
        {"name": name, "emptyDir": {}} for name, path in _writable(config).items() if path not in taken
    ]
    if given.worker_types is not None:
        found.append({"name": "mahavishnu-types", "configMap": {"name": types_name(config)}})
    return found


def _mounts(config: PoolConfig, given: PodSettings) -> list[Manifest]:
    kubernetes = kubernetes_of(config)
    taken = {one.mount_path for one in kubernetes.volumes}
    found: list[Manifest] = [
        {"name": name, "mountPath": path} for name, path in _writable(config).items() if path not in taken
    ]
    if given.worker_types is not None:
        found.append({"name": "mahavishnu-types", "mountPath": SETTINGS, "readOnly": True})
    return [*found, *(pods.mount(one) for one in kubernetes.volumes)]


def _writable(config: PoolConfig) -> dict[str, str]:
    """Return the directories that are empty at the start of a Pod and can be written, by the names of their volumes."""
    return {
        "mahavishnu-data": DATA,
        "mahavishnu-work": kubernetes_of(config).workdir or WORK,
        "mahavishnu-tmp": pods.TEMPORARY,
    }


def _fingerprint(given: PodSettings) -> str:
    text = json.dumps([dict(given.variables), dict(given.secrets), given.worker_types], sort_keys=True)
    return hashlib.blake2s(text.encode(), digest_size=8).hexdigest()


def _disruption_budget(config: PoolConfig, *, pool_id: str | None) -> Manifest:
    given = kubernetes_of(config).max_unavailable
    spec = {
        "maxUnavailable": int(given) if given.isdigit() else given,
        "selector": {"matchLabels": selector(config)},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return {**head("PodDisruptionBudget", "policy/v1", config, pool_id=pool_id), "spec": spec}
