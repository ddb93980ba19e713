"""Calls about contests: all candidates and the judge are submitted in one step; those whose time is over are ended."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mahavishnu_pools.schemas.contest import ContestKind
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.store.batches import Follower
from mahavishnu_pools.store.calls import Call
from mahavishnu_pools.store.steps import Steps
from mahavishnu_pools.store.tasks import Envelope, Submitted, submit

#: Contests that one call ends, with up to 33 tasks each; and calls that follow each other at once.
EXPIRED_MOST, EXPIRED_CALLS = 10, 20


@dataclass(frozen=True, slots=True)
class Opening:
    """What a contest is: see ``schemas.contest.Contest``. ``judge`` runs when all candidates have their outcomes.

    ``deadline`` is how many seconds from its submission on it may take.
    """

    kind: ContestKind
    needed: int | None = None
    agree: bool = False
    judge: Follower | None = None
    deadline: float | None = None

    def options(self) -> dict[str, Any]:
        """Return what the submit script keeps of it."""
        about = {"kind": self.kind.value, "needed": self.needed, "agree": self.agree or None, "deadline": self.deadline}
        told: dict[str, Any] = {"about": json.dumps({name: one for name, one in about.items() if one is not None})}
        if self.deadline is not None:
            told["deadline"] = self.deadline
        if self.judge is None:
            return told
        return {**told, "judge": json.dumps({**json.loads(self.judge.text()), "judges": True})}


def submit_contest(
    envelopes: Sequence[Envelope], choice: Choice, *, batch: str, opening: Opening, client: str | None = None
) -> Call[list[Submitted]]:
    """Open a contest and submit its candidates; of one that is there already they are returned, and nothing is sent.

    Raises like ``tasks.submit``.
    """
    plain = submit(envelopes, choice)
    options = choice.options(client=client, batch=batch, counted=opening.kind.value, contest=opening.options())
    return Call("submit", (options, *plain.arguments[1:]), plain.parse)


def expire_contests(*, result_ttl: float) -> Steps[int]:
    """End contests that are not decided when their time is over, not all at once; returns how many were looked at."""
    total = 0
    for _ in range(EXPIRED_CALLS):
        count: int = yield Call("contest_expire", (EXPIRED_MOST, int(result_ttl * 1000)), int)
        total += count
        if count < EXPIRED_MOST:
            break
    return total
