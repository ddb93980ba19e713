"""How a Job went, by what is known of it and its Pod: an exit code, a time-out, or that nobody knows. Pure."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

from mahavishnu_pools.kube.board import Ticket
from mahavishnu_pools.kube.objects import Manifest
from mahavishnu_pools.kube.pod_state import End, PodView, is_over, job_failure

from .interface import Retryable

logger = logging.getLogger(__name__)

#: What is said of a Job that is gone before its end was seen.
_VANISHED = (
    "Its Job vanished from the cluster before its end was seen: somebody deleted it there, or it ended and went by "
    "ttl_seconds_after_finished while the cluster could not be reached. Whether the task ran to its end is not known."
)


@dataclass(frozen=True, slots=True)
class JobEnd:
    """How it went. ``end`` is what the cluster said of the container, None when it was ended from here.

    ``left`` says that something may still run there.
    """

    how: Literal["exited", "timeout", "cancelled"]
    end: End | None = None
    pod: str | None = None
    error: str | None = None
    retryable: Retryable | None = None
    left: bool = False


def ended(ticket: Ticket, view: PodView | None) -> JobEnd | None:
    """Return how a Job ended, None: it has not, as far as is seen."""
    failure = job_failure(ticket.job) if ticket.job is not None else None
    pod = view.name if view is not None else None
    if failure is not None and failure[0] == "DeadlineExceeded":
        return JobEnd("timeout", pod=pod)
    end = view.end if view is not None else None
    if end is not None and not _taken_along(ticket, end):
        return _exited(end, pod)
    lives = view is not None and end is None and not ticket.pod_gone
    if ticket.pod_gone or (ticket.job_gone and not lives) or (ticket.sought and view is None):
        return _without_pod(ticket, pod, failure)
    return None


def has_ended(job: Manifest | None) -> bool:
    """Tell whether a Job has ended, or will."""
    return job is not None and (is_over(job) or job_failure(job) is not None)


def _taken_along(ticket: Ticket, end: End) -> bool:
    """Tell whether a container was ended because somebody deleted its Job."""
    return ticket.job_gone and end.exit_code != 0 and not has_ended(ticket.job)


def _without_pod(ticket: Ticket, pod: str | None, failure: tuple[str, str] | None) -> JobEnd:
    if failure is None and ticket.job is not None and is_over(ticket.job):
        logger.warning("The output of %s is lost: its Pod was taken away after its end", ticket.name)
        return JobEnd("exited", End(0, "Completed"), pod)
    if failure is None and ticket.job_gone:
        return JobEnd("exited", End(-1, "Lost"), pod, _VANISHED, "overload")
    text = f" ({failure[0]}: {failure[1]})" if failure else ""
    return JobEnd("exited", End(-1, "Lost"), pod, f"Its Pod was taken away in the cluster{text}.", "overload")


def _exited(end: End, pod: str | None) -> JobEnd:
    if end.disrupted is None:
        return JobEnd("exited", end, pod)
    return JobEnd("exited", end, pod, f"Its Pod was taken away by the cluster: {end.disrupted}", "overload")
