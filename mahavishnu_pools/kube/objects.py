"""What all objects that this program makes in a cluster have in common. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mahavishnu_pools.kube.naming import label_value, object_name
from mahavishnu_pools.schemas.kubernetes import OWN_PREFIX, KubernetesConfig
from mahavishnu_pools.schemas.pool import PoolConfig

#: What a manifest is: data ready for JSON or YAML.
Manifest = dict[str, Any]

#: Labels of everything that belongs to a pool.
POOL_LABEL, REGION_LABEL = f"{OWN_PREFIX}pool", f"{OWN_PREFIX}region"

#: The annotation that says which pool exactly something belongs to: names are free again when a pool is closed.
POOL_ID = f"{OWN_PREFIX}pool-id"

NAME_LABEL, MANAGER_LABEL = "app.kubernetes.io/name", "app.kubernetes.io/managed-by"

#: The value of these two, and the name under which this program changes objects.
APP = "mahavishnu"

#: The longest name of a Deployment whose Pods' names (with two suffixes) fit into a host's name.
LONGEST_DEPLOYMENT = 40


def kubernetes_of(config: PoolConfig) -> KubernetesConfig:
    """Return what a pool's configuration says of Kubernetes."""
    return config.kubernetes or KubernetesConfig()


def base_name(config: PoolConfig) -> str:
    """Return the name of the objects of a pool's Deployment."""
    return object_name("mhv", config.name, longest=LONGEST_DEPLOYMENT)


def pool_labels(config: PoolConfig) -> dict[str, str]:
    """Return the labels of everything that belongs to a pool, with the user's own."""
    return {
        **kubernetes_of(config).labels,
        NAME_LABEL: APP,
        MANAGER_LABEL: APP,
        POOL_LABEL: label_value(config.name),
        REGION_LABEL: label_value(config.region),
    }


def selector(config: PoolConfig) -> dict[str, str]:
    """Return the labels by which a pool's Pods are found; they never change."""
    return {NAME_LABEL: APP, POOL_LABEL: label_value(config.name)}


def head(kind: str, api: str, config: PoolConfig, *, pool_id: str | None = None, name: str | None = None) -> Manifest:
    """Return the beginning of a manifest of a pool's object; ``name`` None: the pool's own."""
    kubernetes = kubernetes_of(config)
    notes = {**kubernetes.annotations, **({POOL_ID: pool_id} if pool_id else {})}
    metadata: Manifest = {
        "name": name or base_name(config),
        "namespace": kubernetes.namespace,
        "labels": pool_labels(config),
    }
    if notes:
        metadata["annotations"] = notes
    return {"apiVersion": api, "kind": kind, "metadata": metadata}


def namespace_manifest(name: str) -> Manifest:
    """Return a namespace in which only Pods that keep to the standard ``restricted`` go without a warning."""
    labels = {MANAGER_LABEL: APP, "pod-security.kubernetes.io/warn": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def without_nothing(fields: Mapping[str, Any]) -> Manifest:
    """Return the fields that say something: no None, no empty list, object or text."""
    return {name: value for name, value in fields.items() if value is not None and value not in ({}, [], (), "")}
