"""The call that submits a contest: all candidates, and the task that judges them, in one step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mahavishnu_pools.schemas.contest import ContestKind
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.store.batches import Follower
from mahavishnu_pools.store.calls import Call
from mahavishnu_pools.store.tasks import Envelope, Submitted, submit


@dataclass(frozen=True, slots=True)
class Opening:
    """What a contest is: see ``schemas.contest.Contest``. ``judge`` runs when all candidates have their outcomes."""

    kind: ContestKind
    needed: int | None = None
    agree: bool = False
    judge: Follower | None = None

    def options(self) -> dict[str, Any]:
        """Return what the submit script keeps of it."""
        about = {"kind": self.kind.value, "needed": self.needed, "agree": self.agree or None}
        told = {"about": json.dumps({name: value for name, value in about.items() if value is not None})}
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
