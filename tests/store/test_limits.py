"""Rate limits, cool-downs of worker types, usage and budgets, as the scripts keep them."""

from __future__ import annotations

import json
import time
from fnmatch import fnmatchcase
from typing import Any

import pytest

from mahavishnu_pools import errors, names
from mahavishnu_pools.schemas.event import Event
from mahavishnu_pools.schemas.limits import CoolDown
from mahavishnu_pools.schemas.pool import PoolConfig, PoolStatus
from mahavishnu_pools.store import events, leases, limits, pools
from mahavishnu_pools.store.steps import run_steps_sync
from tests.store.world import RESULT_TTL, World


def make_pool(world: World, name: str = "a", **config: Any) -> str:
    pool_id = names.new_pool_id()
    world.run(pools.create_pool(pool_id, PoolConfig(name=name, max_workers=1000, **config)))
    world.run(pools.change_pool(pool_id, status=PoolStatus.RUNNING))
    return pool_id


def ask(world: World, pool_id: str, lease: str, *, most: int = 10, worker_type: str | None = None) -> leases.Claimed:
    by = leases.Claimant(lease, pool_id, f"{pool_id}@n", worker_type=worker_type)
    found = world.run(leases.claim(by, most=most, request=names.new_task_id(), result_ttl=RESULT_TTL))
    assert found is not None
    return found


def end(world: World, held: leases.Held, told: dict[str, Any], *, retry: bool = False) -> None:
    text = json.dumps({"type": "prompt", **told})
    if retry:
        call = leases.retry(held, outcome="{}", delay=0.5, told=text)
    else:
        call = leases.finish(held, status="completed", outcome="{}", meta="", result_ttl=RESULT_TTL, told=text)
    assert world.run(call) == "ok"


def run_one(world: World, pool_id: str, told: dict[str, Any], *, retry: bool = False) -> leases.Held:
    """Have one prompt run and end so."""
    world.to(pool_id)
    lease = world.lease(pool_id)
    [claim] = ask(world, pool_id, lease, most=1).claims
    held = world.held(lease, pool_id, claim)
    end(world, held, told, retry=retry)
    return held


def let_it_pass(world: World) -> None:
    """Have the cool-down of claude be over since just now."""
    entry = json.loads(world.redis.hget(world.key("cooldowns"), "claude") or "")
    world.redis.hset(world.key("cooldowns"), "claude", json.dumps({**entry, "ends": round(time.time() - 1, 3)}))


def journal(world: World, pattern: str) -> list[Event]:
    """Return the events of such types, the oldest first."""
    found = world.run(events.read_older("pools"))
    return [one for one in reversed(found) if fnmatchcase(one.type, pattern)]


TOO_MANY = {"cool": {"worker": "claude", "why": "429 too many requests"}}


class TestRate:
    def test_a_pool_starts_no_more_than_its_rate_and_says_when_the_next_may(self, world: World) -> None:
        pool_id = make_pool(world, rate_limit="3/s")
        world.to(pool_id, 10)
        lease = world.lease(pool_id)

        first = ask(world, pool_id, lease)
        second = ask(world, pool_id, lease)

        assert len(first.claims) == 3
        assert len(second.claims) <= 1  # a third of a second may have passed
        assert first.due_in is not None
        assert 0 < first.due_in <= 1 / 3
        assert not first.more
        assert world.read_pool(pool_id).queued == 10 - 3 - len(second.claims)

    def test_tokens_come_back_with_time_and_never_beyond_a_second_of_them(self, world: World) -> None:
        pool_id = make_pool(world, rate_limit="60/m")
        world.to(pool_id, 10)
        lease = world.lease(pool_id)
        assert len(ask(world, pool_id, lease).claims) == 1

        at = float(world.redis.hget(world.key("pool", pool_id), "tokens_at") or 0)
        world.redis.hset(world.key("pool", pool_id), "tokens_at", at - 3600)

        assert len(ask(world, pool_id, lease).claims) == 1

    def test_a_clock_that_is_put_back_holds_nobody_back(self, world: World) -> None:
        pool_id = make_pool(world, rate_limit="2/h")
        world.to(pool_id, 5)
        lease = world.lease(pool_id)
        assert len(ask(world, pool_id, lease).claims) == 1

        world.redis.hset(world.key("pool", pool_id), "tokens_at", time.time() + 86_400)

        assert len(ask(world, pool_id, lease).claims) == 1
        assert float(world.redis.hget(world.key("pool", pool_id), "tokens_at") or 0) < time.time() + 60

    def test_a_repeated_request_takes_no_second_token(self, world: World) -> None:
        pool_id = make_pool(world, rate_limit="2/h")
        world.to(pool_id, 3)
        lease, by = world.lease(pool_id), None
        by = leases.Claimant(lease, pool_id, "w")
        call = leases.claim(by, most=5, request="same", result_ttl=RESULT_TTL)

        replies = [world.run(call) for _ in range(3)]

        assert [len(reply.claims) for reply in replies if reply] == [1, 1, 1]
        assert float(world.redis.hget(world.key("pool", pool_id), "tokens") or 9) == 0

    def test_an_empty_pool_with_a_rate_waits_for_nothing(self, world: World) -> None:
        pool_id = make_pool(world, rate_limit="1/h")
        run_one(world, pool_id, {})

        assert ask(world, pool_id, world.lease(pool_id)).due_in is None

    def test_it_can_be_changed_and_taken_away(self, world: World) -> None:
        pool_id = make_pool(world, rate_limit="1/h")
        world.to(pool_id, 9)
        lease = world.lease(pool_id)
        assert len(ask(world, pool_id, lease).claims) == 1

        run_steps_sync(world.store, limits.limit_rate(pool_id, rate="120/m"))
        assert len(ask(world, pool_id, lease).claims) == 2
        assert world.read_pool(pool_id).config.rate_limit == "120/m"

        run_steps_sync(world.store, limits.limit_rate(pool_id, rate=None))
        assert len(ask(world, pool_id, lease).claims) == 6

    @pytest.mark.parametrize("wrong", ["", "0/s", "3", "3/d", "-1/s"])
    def test_what_is_no_rate_is_refused(self, world: World, wrong: str) -> None:
        with pytest.raises(errors.InvalidField, match="30/m"):
            limits.limit_rate("pool_x", rate=wrong)


class TestCoolDown:
    def test_prompts_of_the_worker_type_wait_in_every_pool_and_in_their_order(self, world: World) -> None:
        a, b = make_pool(world, "a"), make_pool(world, "b")
        run_one(world, a, TOO_MANY, retry=True)
        ids = world.to(b, 5)
        lease = world.lease(b)

        found = ask(world, b, lease, worker_type="claude")

        assert found.claims == ()
        assert found.due_in is not None
        assert 8 < found.due_in <= 10.01
        apart = [member.split("\n", 1)[0] for member in world.redis.zrange(world.key("delayed", b), 0, -1)]
        assert apart == ids
        assert world.read_pool(b).queued == 5
        assert {world.task(one).attempts for one in ids} == {0}

    def test_other_worker_types_and_task_types_go_on(self, world: World) -> None:
        pool_id = make_pool(world)
        run_one(world, pool_id, TOO_MANY)
        shell = world.to(pool_id, prompt=None, task_type="shell", payload={"command": "true"})
        qwen = world.to(pool_id, worker_type="qwen")
        world.to(pool_id, worker_type="claude")

        found = ask(world, pool_id, world.lease(pool_id), worker_type="claude")
        assert [claim.task_id for claim in found.claims] == shell + qwen

    def test_it_is_seen_with_its_end_and_its_cause(self, world: World) -> None:
        run_one(world, make_pool(world, "busy"), TOO_MANY)

        [cooling] = world.run(limits.read_limits()).cool_downs

        assert (cooling.worker_type, cooling.because, cooling.pool) == ("claude", "429 too many requests", "busy")
        assert 5 < cooling.ends - time.time() < 15

    def test_the_provider_s_own_time_counts(self, world: World) -> None:
        told = {"cool": {"worker": "claude", "why": "usage limit reached", "seconds": 3000}}
        held = run_one(world, make_pool(world), told, retry=True)

        [cooling] = world.run(limits.read_limits()).cool_downs

        assert 2900 < cooling.ends - time.time() < 3100
        retry_at = world.task(held.task_id).retry_at
        assert retry_at is not None
        assert abs(retry_at.timestamp() - cooling.ends) < 0.01

    def test_it_grows_when_it_happens_again_at_once_and_not_while_it_lasts(self, world: World) -> None:
        pool_id = make_pool(world)
        # Two that were on their way when the first was refused.
        world.to(pool_id, 3)
        lease = world.lease(pool_id)
        held = [world.held(lease, pool_id, claim) for claim in ask(world, pool_id, lease).claims]
        end(world, held[0], TOO_MANY)
        [first] = world.run(limits.read_limits()).cool_downs
        end(world, held[1], TOO_MANY)
        assert world.run(limits.read_limits()).cool_downs == (first,)

        entry = json.loads(world.redis.hget(world.key("cooldowns"), "claude") or "")
        world.redis.hset(world.key("cooldowns"), "claude", json.dumps({**entry, "ends": entry["ends"] - 11}))
        assert world.run(limits.read_limits()).cool_downs == ()
        end(world, held[2], TOO_MANY)

        assert json.loads(world.redis.hget(world.key("cooldowns"), "claude") or "")["length"] == 20

    def test_ended_by_hand_its_tasks_start_at_once_in_their_order(self, world: World) -> None:
        pool_id = make_pool(world)
        run_one(world, pool_id, TOO_MANY)
        ids = world.to(pool_id, 4)
        lease = world.lease(pool_id)
        ask(world, pool_id, lease, worker_type="claude")
        [cooling] = world.run(limits.read_limits()).cool_downs

        assert world.run(limits.end_cool_down(cooling))
        assert world.run(limits.free_cooling(cooling, pool_id)) == 4
        assert world.run(limits.free_cooling(cooling, pool_id)) == 0

        assert [claim.task_id for claim in ask(world, pool_id, lease, worker_type="claude").claims] == ids

    def test_what_waits_for_its_end_can_be_cancelled_and_is_counted(self, world: World) -> None:
        pool_id = make_pool(world)
        run_one(world, pool_id, TOO_MANY)
        ids = world.to(pool_id, 2)
        ask(world, pool_id, world.lease(pool_id), worker_type="claude")

        assert world.places([pool_id]) == dict.fromkeys(ids, 1)
        assert world.loads() == {pool_id: 2}
        assert world.index_is_true()

    def test_its_beginning_and_its_end_are_noted_once_each(self, world: World) -> None:
        pool_id = make_pool(world, "busy")
        run_one(world, pool_id, TOO_MANY)
        assert world.run(limits.note_cooled_down()) == []

        let_it_pass(world)
        noted = [world.run(limits.note_cooled_down()) for _ in range(2)]

        assert noted == [["claude"], []]
        begun, ended = journal(world, "cool_down*")
        assert (begun.type, begun.pool, begun.details["reason"]) == ("cool_down", "busy", "429 too many requests")
        assert (ended.type, ended.pool_id, ended.pool) == ("cool_down_ended", pool_id, "busy")
        assert ended.details["worker_type"] == "claude"
        assert ended.details["reason"] == "its time is over"

    def test_one_that_follows_at_once_is_noted_behind_the_end_of_the_first(self, world: World) -> None:
        pool_id = make_pool(world)
        run_one(world, pool_id, TOO_MANY)
        let_it_pass(world)
        run_one(world, pool_id, TOO_MANY)

        world.run(limits.note_cooled_down())
        [cooling] = world.run(limits.read_limits()).cool_downs
        world.run(limits.end_cool_down(cooling))
        world.run(limits.end_cool_down(cooling))

        found = journal(world, "cool_down*")
        assert [one.type for one in found] == ["cool_down", "cool_down_ended"] * 2
        assert found[-1].details["reason"] == "it was ended by hand"

    def test_ending_one_that_is_over_does_nothing(self, world: World) -> None:
        over = CoolDown(worker_type="claude", ends=time.time(), because="x", pool="a")

        assert not world.run(limits.end_cool_down(over))


class TestUsage:
    def test_what_runs_used_is_counted_by_day_pool_and_task_type(self, world: World) -> None:
        pool_id = make_pool(world, "review")
        for _ in range(3):
            run_one(world, pool_id, {"usage": {"input": 100, "output": 20, "usd": 0.125}})

        [row] = world.run(limits.read_usage(days=7))

        assert (row.pool, row.task_type) == ("review", "prompt")
        assert (row.input_tokens, row.output_tokens, row.cost_usd, row.runs) == (300, 60, 0.375, 3)

    def test_an_attempt_that_is_tried_again_counts_and_a_repeated_call_does_not(self, world: World) -> None:
        pool_id = make_pool(world, "review")
        held = run_one(world, pool_id, {"usage": {"output": 20}}, retry=True)
        text = json.dumps({"type": "prompt", "usage": {"output": 20}})
        again = leases.retry(held, outcome="{}", delay=0.5, told=text)

        assert world.run(again) == "again"
        [row] = world.run(limits.read_usage(days=1))
        assert (row.output_tokens, row.runs) == (20, 1)


class TestBudget:
    @pytest.mark.parametrize(
        ("budget", "shown"), [({"usd": 1}, "$1.20 of $1.00"), ({"tokens": 100}, "240 of 100 tokens")]
    )
    def test_a_pool_pauses_when_its_budget_is_spent_and_says_so(
        self, world: World, budget: dict[str, Any], shown: str
    ) -> None:
        pool_id = make_pool(world, budget=budget)
        told = {"usage": {"input": 60, "output": 60, "usd": 0.6}}
        if "usd" in budget:
            run_one(world, pool_id, told)
            assert world.read_pool(pool_id).status is PoolStatus.RUNNING
            run_one(world, pool_id, told)
        else:
            run_one(world, pool_id, {"usage": {"input": 120, "output": 120}})

        seen = world.run(limits.read_limits(pool_id))
        assert seen.today == seen.life == (limits.Spent(1.2 if "usd" in budget else 0.0, 240),)
        record = world.read_pool(pool_id)
        assert record.status is PoolStatus.PAUSED
        assert record.reason == f"Its budget is spent, {shown}: it is paused until tomorrow (UTC)."
        assert world.index_is_true()

    def test_it_goes_on_the_next_day_and_not_before(self, world: World) -> None:
        pool_id = make_pool(world, budget={"usd": 1})
        run_one(world, pool_id, {"usage": {"usd": 2}})

        assert not world.run(limits.renew_budget(pool_id))
        yesterday = int(time.time() // 86400) - 1
        world.redis.hset(world.key("pool", pool_id), mapping={"spent_on": yesterday, "paid_for": yesterday})
        assert world.run(limits.renew_budget(pool_id))

        record = world.read_pool(pool_id)
        assert (record.status, record.reason) == (PoolStatus.RUNNING, None)
        spent, renewed = journal(world, "budget_*")
        assert (spent.type, spent.details) == ("budget_spent", {"span": "day", "reason": "$2.00 of $1.00"})
        assert (renewed.type, renewed.pool_id) == ("budget_renewed", pool_id)
        assert renewed.details["reason"] == "it is a new day (UTC)"

    def test_of_other_days_nothing_is_kept_for_it(self, world: World) -> None:
        pool_id = make_pool(world, budget={"usd": 9})
        run_one(world, pool_id, {"usage": {"usd": 2}})
        key, today = world.key("spent", pool_id), str(int(time.time() // 86400))
        world.redis.hset(key, mapping={"day": "1", "1 usd": "3", "life usd": "5"})

        run_one(world, pool_id, {"usage": {"usd": 2}})

        assert world.redis.hgetall(key) == {
            "day": today,
            f"{today} usd": "4",
            "life usd": "7",
            f"{today} runs": "2",
            "life runs": "2",
        }

    def test_one_for_life_is_not_renewed(self, world: World) -> None:
        pool_id = make_pool(world, budget={"tokens": 5, "per": "life"})
        run_one(world, pool_id, {"usage": {"output": 9}})

        assert world.read_pool(pool_id).status is PoolStatus.PAUSED
        assert not world.run(limits.renew_budget(pool_id))

    def test_resumed_by_hand_it_goes_on_that_day_and_paused_by_hand_it_stays_so(self, world: World) -> None:
        pool_id = make_pool(world, budget={"usd": 1})
        run_one(world, pool_id, {"usage": {"usd": 2}})
        world.run(pools.change_pool(pool_id, status=PoolStatus.RUNNING, reason=""))

        run_one(world, pool_id, {"usage": {"usd": 2}})
        assert world.read_pool(pool_id).status is PoolStatus.RUNNING
        world.run(pools.change_pool(pool_id, status=PoolStatus.PAUSED, reason="it was paused"))
        assert not world.run(limits.renew_budget(pool_id))
