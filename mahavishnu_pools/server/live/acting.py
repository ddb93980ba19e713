"""What the page may change, when this server has a token: tasks are decided on, ended and sent again, pools paused."""

from __future__ import annotations

from pydantic import JsonValue, ValidationError

from mahavishnu_pools import errors
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.schemas.base import Value

#: What is said of a task that was cancelled here.
REASON = "It was cancelled on the page of the server."


#: Who decided, when nobody has said so on the page: the token is the same for all.
SOMEBODY = "somebody on the page"

_VERBS = ("cancel", "retry", "approve", "refuse", "pause", "resume")


class Said(Value):
    """What somebody says of a decision: why, and who it is."""

    reason: str | None = None
    by: str | None = None

    @classmethod
    def of_body(cls, body: bytes) -> Said:
        """Return what the body of a request says, which may be empty.

        Raises:
            InvalidField: it is something else.
        """
        try:
            return cls.model_validate_json(body or b"{}")
        except ValidationError:
            raise errors.InvalidField.of("body", "cannot be read", 'Send {"reason": TEXT, "by": NAME}.') from None


class ActionsOff(errors.InvalidInput):
    """This server has no token, so it only shows."""

    code = "actions_off"


async def act(manager: PoolManager, verb: str, name: str, body: bytes = b"") -> dict[str, JsonValue]:
    """Carry out a verb on a task or pool and tell what came of it; ``body`` is what is said of a decision.

    Raises:
        UnknownChoice: there is no such verb.
        NotFound, InvalidInput, Unavailable: as the manager's verbs.
    """
    if verb == "cancel":
        return {"done": await manager.cancel(name, reason=REASON)}
    if verb == "retry":
        retried = await manager.retry([name])
        if name not in retried.retried:
            problem = f"cannot be sent again: {retried.skipped.get(name, 'it is not known')}"
            raise errors.InvalidField.of(name, problem, "Only tasks that failed can be.")
        return {"task_id": retried.retried[name]}
    if verb in ("approve", "refuse"):
        return await _decide(manager, verb, name, Said.of_body(body))
    if verb == "pause":
        return {"status": (await manager.pause_pool(name)).status.value}
    if verb == "resume":
        return {"status": (await manager.resume_pool(name)).status.value}
    raise errors.UnknownChoice.of("action", verb, _VERBS)


async def _decide(manager: PoolManager, verb: str, task_id: str, said: Said) -> dict[str, JsonValue]:
    decide = manager.approve if verb == "approve" else manager.refuse
    decision = await decide(task_id, by=(said.by or "").strip() or SOMEBODY, reason=said.reason)
    return decision.model_dump(mode="json")
