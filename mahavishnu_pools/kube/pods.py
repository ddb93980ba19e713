"""Parts of Pods that Jobs and Deployments have in common. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from mahavishnu_pools.kube.objects import Manifest, without_nothing
from mahavishnu_pools.schemas.kubernetes import KubernetesConfig
from mahavishnu_pools.schemas.kubernetes_parts import EnvSource, Toleration, Volume

#: The directory that can be written in every container, also where its own files cannot.
TEMPORARY = "/tmp"  # noqa: S108 - a path in a container

_KEYS = {"secret": "secretRef", "configmap": "configMapRef"}


def literal(text: str) -> str:
    """Return a text for ``env`` or ``args`` that arrives in the container as it is: ``$(NAME)`` would be replaced."""
    return text.replace("$", "$$")


def pod_security(config: KubernetesConfig) -> Manifest:
    """Return the Pod's part of what its processes are allowed."""
    given = config.security_context
    return without_nothing(
        {
            "runAsNonRoot": given.run_as_non_root,
            "runAsUser": given.run_as_user,
            "runAsGroup": given.run_as_group,
            "fsGroup": given.fs_group,
            "fsGroupChangePolicy": None if given.fs_group is None else "OnRootMismatch",
            "seccompProfile": {"type": given.seccomp},
        }
    )


def container_security(config: KubernetesConfig) -> Manifest:
    """Return a container's part of what its processes are allowed."""
    given = config.security_context
    return {
        "allowPrivilegeEscalation": given.allow_privilege_escalation,
        "readOnlyRootFilesystem": given.read_only_root,
        "capabilities": without_nothing({"drop": ["ALL"], "add": list(given.add_capabilities)}),
    }


def resources(config: KubernetesConfig) -> Manifest:
    """Return what a container is promised and may use."""
    return without_nothing({"requests": dict(config.resources.requests), "limits": dict(config.resources.limits)})


def env_from(sources: Sequence[EnvSource]) -> list[Manifest]:
    """Return the Secrets and ConfigMaps whose keys become variables."""
    found = []
    for one in sources:
        reference: Manifest = {"name": one.name, **({"optional": True} if one.optional else {})}
        found.append({**({"prefix": one.prefix} if one.prefix else {}), _KEYS[one.kind]: reference})
    return found


def volume(given: Volume) -> Manifest:
    """Return a volume of a Pod."""
    if given.claim is not None:
        source: Manifest = {
            "persistentVolumeClaim": without_nothing({"claimName": given.claim, "readOnly": given.read_only or None})
        }
    elif given.secret is not None:
        source = {"secret": {"secretName": given.secret}}
    elif given.config_map is not None:
        source = {"configMap": {"name": given.config_map}}
    else:
        source = {"emptyDir": {"sizeLimit": given.empty_dir}}
    return {"name": given.name, **source}


def mount(given: Volume) -> Manifest:
    """Return where a container sees a volume."""
    read_only = given.read_only or given.secret is not None or given.config_map is not None
    return without_nothing(
        {
            "name": given.name,
            "mountPath": given.mount_path,
            "subPath": given.sub_path,
            "readOnly": True if read_only else None,
        }
    )


def toleration(given: Toleration) -> Manifest:
    """Return a taint that a Pod puts up with."""
    return without_nothing(
        {
            "key": given.key,
            "operator": given.operator,
            "value": given.value,
            "effect": given.effect,
            "tolerationSeconds": given.toleration_seconds,
        }
    )


def placement(config: KubernetesConfig) -> Manifest:
    """Return where a Pod may run, as whom, and what it needs to get its image."""
    return without_nothing(
        {
            "nodeSelector": dict(config.node_selector),
            "tolerations": [toleration(one) for one in config.tolerations],
            "priorityClassName": config.priority_class,
            "imagePullSecrets": [{"name": one} for one in config.image_pull_secrets],
        }
    )
