"""What the page may change, when this server has a token: cancel and retry tasks, pause and resume pools."""

from __future__ import annotations

from pydantic import JsonValue

from mahavishnu_pools import errors
from mahavishnu_pools.manager import PoolManager

#: What is said of a task that was cancelled here.
REASON = "It was cancelled on the page of the server."


class ActionsOff(errors.InvalidInput):
    """This server has no token, so it only shows."""

    code = "actions_off"


async def act(manager: PoolManager, verb: str, name: str) -> dict[str, JsonValue]:
    """Carry out a verb on a task or pool and tell what came of it.

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
    if verb == "pause":
        return {"status": (await manager.pause_pool(name)).status.value}
    if verb == "resume":
        return {"status": (await manager.resume_pool(name)).status.value}
    raise errors.UnknownChoice.of("action", verb, ["cancel", "retry", "pause", "resume"])
