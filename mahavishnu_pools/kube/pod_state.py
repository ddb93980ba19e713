"""Reads the state of a Pod and of its Job: what it waits for, whether it runs, how it ended and why. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mahavishnu_pools.kube.jobs import CONTAINER
from mahavishnu_pools.kube.objects import Manifest

#: What a container waits in for ever: the reason, and what that is in words.
_HOPELESS = {
    "ErrImagePull": "its image cannot be pulled",
    "ImagePullBackOff": "its image cannot be pulled",
    "ErrImageNeverPull": "its image is not on the node, and may not be pulled",
    "InvalidImageName": "its image has no valid name",
    "CreateContainerConfigError": "what it is to be given is not there",
    "CreateContainerError": "its container cannot be made",
    "RunContainerError": "its container cannot be started",
}

#: Reasons nothing can change.
_AT_ONCE = frozenset({"ErrImageNeverPull", "InvalidImageName"})

#: How a registry says that asking again will not help.
_NO_USE = re.compile(r"not found|unknown|denied|unauthorized|forbidden|invalid reference", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a Pod does not start. ``lasting``: it never will; ``may_pass``: that is usual and may take its time.

    In between are states that usually last, where somebody has to lose patience.
    """

    message: str
    lasting: bool = False
    may_pass: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """How a container ended; ``reason`` is the cluster's word: ``Completed``, ``Error``, ``OOMKilled``, ``StartError``.

    ``disrupted`` says that the cluster took it away, with the reason for people.
    """

    exit_code: int
    reason: str
    message: str = ""
    container: str = CONTAINER
    disrupted: str | None = None

    @property
    def not_started(self) -> bool:
        """Tell whether its program could not even be started."""
        return self.reason in ("StartError", "ContainerCannotRun")


@dataclass(frozen=True, slots=True)
class PodView:
    """What is seen of a Pod."""

    name: str
    started: datetime | None
    trouble: Trouble | None
    end: End | None

    @property
    def has_log(self) -> bool:
        """Tell whether the task's container has begun, so that there is something to read."""
        return self.started is not None and not (self.end is not None and self.end.not_started)


def read_pod(pod: Manifest) -> PodView:
    """Return what a Pod's status says."""
    status = pod.get("status") or {}
    inits, mains = status.get("initContainerStatuses") or [], status.get("containerStatuses") or []
    task: Manifest = next((one for one in mains if one.get("name") == CONTAINER), {})
    state = task.get("state") or {}
    began = (state.get("running") or state.get("terminated") or {}).get("startedAt")
    return PodView(
        name=pod["metadata"]["name"],
        started=_time(began),
        trouble=_unschedulable(status) or _waiting([*inits, task]),
        end=_end(status, inits, state),
    )


def job_failure(job: Manifest) -> tuple[str, str] | None:
    """Return reason and message of a Job that has failed, or will; None for others."""
    for one in (job.get("status") or {}).get("conditions") or []:
        if one.get("type") in ("Failed", "FailureTarget") and one.get("status") == "True":
            return str(one.get("reason") or ""), str(one.get("message") or "")
    return None


def is_over(job: Manifest) -> bool:
    """Tell whether a Job has ended."""
    conditions = (job.get("status") or {}).get("conditions") or []
    return any(one.get("type") in ("Complete", "Failed") and one.get("status") == "True" for one in conditions)


def _end(status: Manifest, inits: list[Manifest], state: Manifest) -> End | None:
    disrupted = _disruption(status)
    for one in inits:
        over = (one.get("state") or {}).get("terminated")
        if over and over.get("exitCode"):
            return _ended(over, str(one.get("name")), disrupted)
    if over := state.get("terminated"):
        return _ended(over, CONTAINER, disrupted)
    if status.get("phase") == "Failed":
        return End(-1, str(status.get("reason") or "Failed"), str(status.get("message") or ""), disrupted=disrupted)
    return None


def _ended(over: Manifest, container: str, disrupted: str | None) -> End:
    code, reason = int(over.get("exitCode") or 0), str(over.get("reason") or "")
    return End(code, reason, str(over.get("message") or ""), container, disrupted if code else None)


def _disruption(status: Manifest) -> str | None:
    conditions = status.get("conditions") or []
    found = next((one for one in conditions if one.get("type") == "DisruptionTarget" and one["status"] == "True"), None)
    if found is None and status.get("reason") not in ("Evicted", "NodeLost", "Shutdown", "Preempting"):
        return None
    about = status.get("message") or (found or {}).get("message") or (found or {}).get("reason")
    return str(about or status.get("reason"))


def _unschedulable(status: Manifest) -> Trouble | None:
    for one in status.get("conditions") or []:
        if one.get("type") == "PodScheduled" and one.get("status") == "False":
            return Trouble(f"no node takes it: {one.get('message') or one.get('reason')}", may_pass=True)
    return None


def _waiting(containers: list[Manifest]) -> Trouble | None:
    for one in containers:
        waiting: dict[str, Any] = (one.get("state") or {}).get("waiting") or {}
        reason, message = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
        if reason in _HOPELESS:
            lasting = reason in _AT_ONCE or (reason == "ImagePullBackOff" and bool(_NO_USE.search(message)))
            text = f"{_HOPELESS[reason]} ({reason}, {one.get('image')}): {message or 'the cluster does not say why'}"
            return Trouble(text, lasting)
    return None


def _time(text: object) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) else None
