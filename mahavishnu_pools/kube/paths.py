"""Where the API keeps the kinds of objects this program uses. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object: its API (``v1``, ``batch/v1``), its plural, and whether it lives in a namespace."""

    api: str
    plural: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        """Return the API group, ``""`` for the core."""
        return self.api.partition("/")[0] if "/" in self.api else ""

    def path(self, namespace: str | None = None, name: str | None = None, part: str | None = None) -> str:
        """Return the path of the collection, of one object, or of a part of it such as ``log``."""
        root = f"/apis/{self.api}" if "/" in self.api else f"/api/{self.api}"
        inside = f"/namespaces/{quote(namespace, safe='')}" if self.namespaced and namespace else ""
        one = f"/{quote(name, safe='')}" if name else ""
        return f"{root}{inside}/{self.plural}{one}" + (f"/{part}" if part else "")


#: The kinds by name.
KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "Job": Kind("batch/v1", "jobs"),
        "Pod": Kind("v1", "pods"),
        "Secret": Kind("v1", "secrets"),
        "ConfigMap": Kind("v1", "configmaps"),
        "Event": Kind("v1", "events"),
        "ServiceAccount": Kind("v1", "serviceaccounts"),
        "Namespace": Kind("v1", "namespaces", namespaced=False),
        "Deployment": Kind("apps/v1", "deployments"),
        "PodDisruptionBudget": Kind("policy/v1", "poddisruptionbudgets"),
        "HorizontalPodAutoscaler": Kind("autoscaling/v2", "horizontalpodautoscalers"),
        "ScaledObject": Kind("keda.sh/v1alpha1", "scaledobjects"),
        "SelfSubjectAccessReview": Kind("authorization.k8s.io/v1", "selfsubjectaccessreviews", namespaced=False),
    }
)
