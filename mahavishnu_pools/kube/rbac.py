"""Manifests that give this program its rights in a cluster: a service account, a role and what ties them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mahavishnu_pools.kube.objects import APP, MANAGER_LABEL, NAME_LABEL, Manifest
from mahavishnu_pools.kube.rights import Right

_API = "rbac.authorization.k8s.io/v1"
_GROUP = "rbac.authorization.k8s.io"


def rbac_manifests(rights: Iterable[Right], *, namespace: str, account: str = APP) -> list[Manifest]:
    """Return the service account ``account`` in a namespace with exactly these rights."""
    given = list(rights)
    here = [right for right in given if not right.everywhere]
    everywhere = [right for right in given if right.everywhere]
    found: list[Manifest] = [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata(account, namespace)}]
    if here:
        found.extend(_role("Role", _metadata(account, namespace), here, account=account, namespace=namespace))
    if everywhere:
        # Roles of the whole cluster share their names with everybody's.
        metadata = _metadata(f"{account}-{namespace}", None)
        found.extend(_role("ClusterRole", metadata, everywhere, account=account, namespace=namespace))
    return found


def _role(kind: str, metadata: Manifest, rights: list[Right], *, account: str, namespace: str) -> list[Manifest]:
    rules = [
        {"apiGroups": [right.group], "resources": [right.resource], "verbs": list(right.verbs)} for right in rights
    ]
    return [
        {"apiVersion": _API, "kind": kind, "metadata": metadata, "rules": rules},
        {
            "apiVersion": _API,
            "kind": f"{kind}Binding",
            "metadata": metadata,
            "roleRef": {"apiGroup": _GROUP, "kind": kind, "name": metadata["name"]},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
        },
    ]


def _metadata(name: str, namespace: str | None) -> dict[str, Any]:
    labels = {NAME_LABEL: APP, MANAGER_LABEL: APP}
    return {"name": name, **({"namespace": namespace} if namespace else {}), "labels": labels}
