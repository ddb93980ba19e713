"""What a cluster says of a pool's Deployment, its autoscaler and its Pods, in short. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mahavishnu_pools.kube.objects import Manifest

#: Why a container waits that nobody but people can change.
_LASTING = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "CrashLoopBackOff",
    }
)

#: The most characters of a container's last words that are repeated.
_LAST_WORDS = 500


@dataclass(frozen=True, slots=True)
class DeploymentStatus:
    """How many Pods there are to be and are ready, and what is to be said of it.

    ``problem`` keeps Pods from working; ``lasting``: until somebody does something. ``autoscaler`` is what the
    autoscaler complains of: it keeps its limits all the same, so this is no failure.
    """

    wanted: int
    ready: int
    problem: str | None = None
    lasting: bool = False
    autoscaler: str | None = None


def deployment_status(deployment: Manifest, pods: Sequence[Manifest], autoscaler: Manifest | None) -> DeploymentStatus:
    """Read the objects as the API returns them."""
    status = deployment.get("status") or {}
    wanted = int(deployment.get("spec", {}).get("replicas", 1))
    ready = int(status.get("readyReplicas") or 0)
    problem, lasting = _problem(deployment, pods) if ready < wanted else (None, False)
    return DeploymentStatus(
        wanted=wanted,
        ready=ready,
        problem=problem,
        lasting=lasting,
        autoscaler=_complaint(autoscaler),
    )


def _problem(deployment: Manifest, pods: Sequence[Manifest]) -> tuple[str | None, bool]:
    for text in _conditions(deployment, "ReplicaFailure", "True"):
        return f"Pods cannot be made: {text}", True
    stuck = [found for pod in pods for found in _stuck(pod)]
    stuck.sort(key=lambda one: not one[1])
    if stuck:
        return stuck[0]
    for text in _conditions(deployment, "Progressing", "False"):
        return text, False
    return None, False


def _stuck(pod: Manifest) -> Iterator[tuple[str, bool]]:
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason = waiting.get("reason")
        if reason in _LASTING:
            message = waiting.get("message") or ""
            yield f"Pod {name}: {reason}: {_last_words(container) or message}".rstrip(": "), True
    for text in _conditions(pod, "PodScheduled", "False"):
        # More machines may come.
        yield f"Pod {name} has no node: {text}", False


def _last_words(container: Manifest) -> str:
    ended = (container.get("lastState") or {}).get("terminated") or {}
    if not ended:
        return ""
    words = str(ended.get("message") or "").strip()[-_LAST_WORDS:]
    return f"it ended with code {ended.get('exitCode')} ({ended.get('reason')}). {words}".rstrip()


def _conditions(one: Manifest, kind: str, status: str) -> Iterator[str]:
    for condition in (one.get("status") or {}).get("conditions") or []:
        if condition.get("type") == kind and condition.get("status") == status:
            yield str(condition.get("message") or condition.get("reason") or kind)


def _complaint(autoscaler: Manifest | None) -> str | None:
    conditions: list[dict[str, Any]] = ((autoscaler or {}).get("status") or {}).get("conditions") or []
    for condition in conditions:
        if condition.get("type") in ("ScalingActive", "AbleToScale", "Ready") and condition.get("status") == "False":
            reason, message = condition.get("reason") or "", condition.get("message") or ""
            return f"The autoscaler cannot scale by load ({reason}: {message}); it keeps the pool between its limits."
    return None
