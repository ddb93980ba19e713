"""The tools that run tasks of which not every answer is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

from pydantic import Field, model_validator

from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.mcp_tools import Answer, Caller, Tool
from mahavishnu_pools.routing.contesting import StartedContest
from mahavishnu_pools.routing.contests import DEADLINE_MOST
from mahavishnu_pools.schemas.base import Value
from mahavishnu_pools.schemas.contest import ContestResult
from mahavishnu_pools.schemas.task import TaskResult
from mahavishnu_pools.server import arguments, texts
from mahavishnu_pools.server.pools import Pools
from mahavishnu_pools.server.task_tools import TAKEN_BACK, filters_of, task_of
from mahavishnu_pools.server.waiting import Waiting


class Race(arguments.Filtered):
    """Tasks that do the same: one for each of them on each pool, of each worker type, as often as copies says."""

    tasks: list[arguments.Work] = Field(min_length=1, max_length=32, description="What they do, as in pool_submit.")
    pools: list[str] = Field(default_factory=list, description="One on each (ids or names); none: they are chosen.")
    worker_types: list[str] = Field(default_factory=list, description="One of each; none: that of the task or pool.")
    copies: int = Field(default=1, ge=1, le=32, description="So many of each; from 2 to 32 in all.")
    deadline: float | None = Field(
        default=None, gt=0, le=DEADLINE_MOST, description="Not decided so many seconds from now: failed, all cancelled."
    )
    wait_seconds: float = Field(
        default=arguments.WAIT_SECONDS,
        ge=0,
        le=arguments.LONGEST_WAIT,
        description="How long the call waits; then it tells what is known, and the tasks go on.",
    )


class Quorum(Race):
    """Tasks of which some must succeed."""

    needed: int = Field(ge=1, description="So many must succeed; then the others are cancelled.")
    agree: bool = Field(default=False, description="Only equal answers count together.")


class Judge(Value):
    """Who names the best answer: a prompt, a function or a reducer."""

    prompt: str | None = Field(default=None, description="A prompt; {answers} in it stands for the numbered answers.")
    callable: str | None = Field(default=None, description="A Python function, module:function, as in type python.")
    reducer: str | None = Field(default=None, description="The name of a reducer.")
    worker_type: str | None = Field(default=None, description="Runs the prompt instead of the pool's.")
    pool_id: str | None = Field(default=None, description="Where it runs; none: on the pools of the others.")

    @model_validator(mode="after")
    def _says_who(self) -> Self:
        if sum(one is not None for one in (self.prompt, self.callable, self.reducer)) != 1:
            raise ValueError("give exactly one of prompt, callable and reducer")
        return self


class BestOf(Race):
    """Tasks whose answers are judged."""

    judge: Judge = Field(description="Who names the best answer once all have ended.")


class ContestTold(ContestResult):
    """A contest. With ``ended`` false it is not decided; ask pool_task for its batch later."""

    ended: bool


class ContestTools:
    """The tools that run contests on the pools of one stack."""

    def __init__(self, pools: Pools, waiting: Waiting) -> None:
        self._pools = pools
        self._waiting = waiting

    def tools(self) -> Sequence[Tool]:
        """Return the tools."""
        race = "Have several tasks do the same; the first that succeeds wins, the others are cancelled."
        quorum = "Have several tasks do the same until enough have succeeded, or agree; the others are cancelled."
        best = "Have several tasks do the same, and a judge name the best of their answers."
        return (
            Tool("pool_race", race, Race, self.race, ContestTold, attended=True),
            Tool("pool_quorum", quorum, Quorum, self.quorum, ContestTold, attended=True),
            Tool("pool_best_of", best, BestOf, self.best_of, ContestTold, attended=True),
        )

    async def race(self, given: Race, caller: Caller) -> Answer:
        """Run a race; that nobody won is an answer, not an error of the tool."""
        return await self._run("race", given, caller)

    async def quorum(self, given: Quorum, caller: Caller) -> Answer:
        """Run tasks until enough have succeeded."""
        return await self._run("quorum", given, caller, needed=given.needed, agree=given.agree)

    async def best_of(self, given: BestOf, caller: Caller) -> Answer:
        """Run tasks and have their answers judged."""
        return await self._run("best_of", given, caller, judge=_judge(given.judge), judge_pool=given.judge.pool_id)

    async def _run(self, kind: str, given: Race, caller: Caller, **rules: Any) -> Answer:
        manager = await self._pools.manager()
        where: dict[str, Any] = {"pools": given.pools, "worker_types": given.worker_types, "copies": given.copies}
        where["deadline"] = given.deadline
        tasks = [task_of(one) for one in given.tasks]
        sending = manager.start_contest(kind, tasks, filters=filters_of(given), **where, **rules)
        async with self._waiting.sent(sending, caller, _cancel(manager)) as started:
            found = await self._decided(manager, started, given.wait_seconds)
        return Answer(_text(found), {**found.model_dump(mode="json"), "ended": found.status != "open"})

    async def _decided(self, manager: PoolManager, started: StartedContest, seconds: float) -> ContestResult:
        waiting = lambda: manager.contest(started.batch_id, wait_timeout=seconds)  # noqa: E731 - typed by its use
        found = await self._waiting.gathered(waiting, seconds)
        return found if found is not None else await manager.contest(started.batch_id)


def _judge(given: Judge) -> dict[str, Any] | str:
    if given.callable is not None:
        return {"task_type": "python", "payload": {"callable": given.callable}}
    if given.reducer is not None:
        return {"task_type": f"reduce:{given.reducer}", "payload": {}}
    return {"prompt": given.prompt, "worker_type": given.worker_type}


def _cancel(manager: PoolManager) -> Callable[[StartedContest], Any]:
    async def end(started: StartedContest) -> None:
        # What somebody had submitted before, under the same key, is theirs.
        if started.new:
            await manager.cancel_batch(started.batch_id, reason=TAKEN_BACK)

    return end


def _text(found: ContestResult) -> str:
    lines = [f"{place}: {texts.item(one)}" for place, one in enumerate(found.candidates)]
    if found.status == "open":
        head = f"Batch {found.batch_id} is not decided. Ask for it with pool_task (batch_id={found.batch_id})."
        return texts.listed(head, lines)
    answer: TaskResult | None = found.answer
    if answer is None:
        return texts.listed(f"Nobody won: {found.reason}", lines)
    said = texts.output(answer)
    why = f" ({found.reason})" if found.reason else ""
    return texts.listed(f"Candidate {found.winner} won{why}" + (f":\n{said}" if said else ""), lines)
