"""Makes errors of what the API answers: what is wrong, where, and what to do. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mahavishnu_pools import errors

#: Statuses after which the same request may succeed: too many requests, and faults of the server or before it.
PASSING = frozenset({429, 500, 502, 503, 504})

#: The longest text of the API that goes into a message, in characters.
_LONGEST = 1000

_QUOTA = re.compile(r"exceeded quota|quota exceeded|forbidden: failed quota", re.IGNORECASE)
_CANNOT = re.compile(r'cannot (?P<verb>\w+) resource "(?P<resource>[^"]+)"(?: in API group "(?P<group>[^"]*)")?')
_NO_NAMESPACE = re.compile(r'namespaces "(?P<name>[^"]+)" not found')


@dataclass(frozen=True, slots=True)
class Place:
    """The cluster for messages: its address, and the context that leads there (None: the one this runs in)."""

    address: str
    context: str | None = None

    def __str__(self) -> str:
        return self.address + (f" (context {self.context!r})" if self.context else "")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API answered to a request that did not succeed; ``reason`` is its word for it, ``after`` in seconds."""

    status: int
    reason: str
    message: str
    after: float | None = None

    @classmethod
    def of(cls, status: int, body: str, headers: Mapping[str, str]) -> Answer:
        """Read a response, also one that does not come from the API but from something before it."""
        given = _status(body)
        after = headers.get("Retry-After", "")
        return cls(
            status=status,
            reason=str(given.get("reason") or ""),
            message=str(given.get("message") or body.strip() or f"HTTP status {status}")[:_LONGEST],
            after=float(after) if after.isdigit() else None,
        )

    @property
    def passes(self) -> bool:
        """Tell whether the same request may succeed soon."""
        return self.status in PASSING

    @property
    def over_quota(self) -> bool:
        """Tell whether a quota is used up."""
        return self.status == 403 and bool(_QUOTA.search(self.message))


def _status(body: str) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def refused(answer: Answer, place: Place) -> errors.MahavishnuError:
    """Return the error for an answer."""
    if answer.status in PASSING:
        return errors.ClusterUnavailable(
            f"The cluster at {place} does not answer as it should ({answer.status}): {answer.message}. "
            "Try again when it is well.",
            cluster=place.address,
            status=answer.status,
        )
    text, remedy = _said(answer, place)
    return errors.ClusterRefused(
        f"{text} {remedy}",
        cluster=place.address,
        status=answer.status,
        reason=answer.reason,
        quota=answer.over_quota,
    )


def _said(answer: Answer, place: Place) -> tuple[str, str]:
    message = answer.message.rstrip(".")
    if answer.status == 401:
        return f"The cluster at {place} does not accept these credentials.", "Log in to it again, or choose a context."
    if answer.over_quota:
        return f"A quota of the cluster is used up: {message}.", "Wait until something ends, or have it raised."
    if answer.status == 403:
        cannot = _CANNOT.search(message)
        what = f"{cannot['verb']} {cannot['resource']}" if cannot else "that"
        return (
            f"The cluster at {place} does not allow to {what}: {message}.",
            "Have it granted; docs/kubernetes.md lists the rights that are needed.",
        )
    missing = _NO_NAMESPACE.search(message)
    if answer.status == 404 and missing:
        return no_namespace(missing["name"], place)
    if answer.status == 422:
        return f"The cluster at {place} finds this invalid: {message}.", "Correct the pool's configuration."
    return f"The cluster at {place} refused this ({answer.status}): {message}.", "Correct it and try again."


def no_namespace(name: str, place: Place) -> tuple[str, str]:
    """Return what is to be said of a namespace that does not exist, and what to do."""
    return (
        f"The namespace {name!r} does not exist in the cluster at {place}.",
        f"Have it made with create_namespace, or make it with: kubectl create namespace {name}",
    )


def no_rights(place: Place, namespace: str, missing: Sequence[str]) -> errors.ClusterRefused:
    """Return the error for rights that are missing, given in words such as ``create jobs.batch``."""
    return errors.ClusterRefused(
        f"The cluster at {place} does not allow in namespace {namespace!r} to: {', '.join(missing)}. "
        "'mahavishnu pools manifest --rbac' prints what grants it.",
        cluster=place.address,
        status=403,
        reason="Forbidden",
        quota=False,
        missing=list(missing),
    )


def unreachable(place: Place, cause: object) -> errors.ClusterUnavailable:
    """Return the error for a cluster that gives no answer at all."""
    return errors.ClusterUnavailable(
        f"The cluster at {place} cannot be reached: {cause}. Check that it runs, and that this machine may reach it.",
        cluster=place.address,
    )
