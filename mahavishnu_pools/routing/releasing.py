"""Going on with tasks whose parents have ended: their pools are chosen now, as they were wished for. For agents."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from mahavishnu_pools import errors
from mahavishnu_pools.routing.chooser import Chooser, Wish
from mahavishnu_pools.routing.eligibility import Need
from mahavishnu_pools.routing.wishes import restored
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.schemas.task import TaskSpec
from mahavishnu_pools.store import dependencies
from mahavishnu_pools.store.dependencies import Ready

if TYPE_CHECKING:
    from mahavishnu_pools.store.calls import Call
    from mahavishnu_pools.store.steps import Steps

logger = logging.getLogger(__name__)

#: Seconds after which a task is tried again for which there was no pool.
AGAIN_AFTER = 2.0

#: Characters kept of why there is none.
WHY_MOST = 1000


def release_some(chooser: Chooser, who: str, *, result_ttl: float) -> Steps[bool]:
    """Carry out a piece of what is to be done; returns whether there may be more. ``who`` is the agent's node."""
    found: dependencies.Released = yield dependencies.release(who, result_ttl=result_ttl)
    groups: dict[tuple[Need, str, bool], list[Ready]] = {}
    for one in found.ready:
        try:
            where = one.pool if one.wish is None else repr(sorted(one.wish.items()))
            groups.setdefault((_need(one), where, one.explain), []).append(one)
        except (ValueError, TypeError, AttributeError, errors.InvalidInput) as exc:
            # What another version wrote of one task keeps no other back.
            logger.warning("It cannot be read which pools task %s asks for: %s", one.task_id, exc)
            why = f"It cannot be read which pools it asks for: {exc}"[:WHY_MOST]
            yield dependencies.try_later([one.task_id], why=why, seconds=AGAIN_AFTER)
    for (need, _, _), some in groups.items():
        yield from _route(chooser, need, some, result_ttl=result_ttl)
    return found.more or bool(found.ready)


def _need(one: Ready) -> Need:
    stub = {"task_type": "prompt", **one.need}
    text = {"prompt": ""} if stub["task_type"] == "prompt" else {}
    return Need.of(TaskSpec.model_validate({**stub, **text}, extra="ignore"))


def _route(chooser: Chooser, need: Need, some: list[Ready], *, result_ttl: float) -> Steps[None]:
    first, ids = some[0], [one.task_id for one in some]
    try:
        wish = replace(Wish(pool=first.pool) if first.wish is None else restored(first.wish), explain=first.explain)

        def call(choice: Choice) -> Call[int]:
            return dependencies.start(ids, choice)

        yield from chooser.choose(need, wish, call, count=len(ids))
    except (errors.PoolGone, errors.PoolNotFound) as exc:
        yield dependencies.give_up(ids, why=exc.message[:WHY_MOST], result_ttl=result_ttl)
    except (errors.InvalidInput, errors.NotFound) as exc:
        yield dependencies.try_later(ids, why=exc.message[:WHY_MOST], seconds=AGAIN_AFTER)
    except errors.Unavailable:
        raise  # nothing can be sent now; it is tried again
    except Exception as exc:  # the border of one wish: what a strategy of a plug-in raises keeps no other back
        logger.exception("No pool can be chosen for task %s", ids[0])
        yield dependencies.try_later(ids, why=f"{type(exc).__name__}: {exc}"[:WHY_MOST], seconds=AGAIN_AFTER)
