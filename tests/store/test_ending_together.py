"""Claims that are ended by one script: each as if it were ended alone, and what they add up to is right."""

from __future__ import annotations

import json

import pytest

from mahavishnu_pools.store import leases
from mahavishnu_pools.store.calls import Call
from tests.store.world import RESULT_TTL, World


@pytest.fixture
def pool(world: World) -> str:
    return world.pool("p", workers=10)


@pytest.fixture
def lease(world: World, pool: str) -> str:
    return world.lease(pool)


def ended(world: World, calls: list[Call[leases.Ending]]) -> list[str]:
    (script,) = leases.together(calls)
    return list(world.run(script))


def test_claims_end_each_in_its_own_way(world: World, pool: str, lease: str) -> None:
    ids = world.to(pool, 6)
    good, failed, again, back, over, strange = (world.held(lease, pool, claim) for claim in world.claim(lease, pool, 6))
    assert world.run(world.finish_call(over)) == "ok"

    verdicts = ended(
        world,
        [
            world.finish_call(good),
            world.finish_call(failed, status="failed"),
            leases.retry(again, outcome='{"error": "not yet"}', delay=60, result_ttl=RESULT_TTL),
            leases.hand_back(back, result_ttl=RESULT_TTL),
            world.finish_call(over, output="another"),
            world.finish_call(leases.Held(lease, "999", strange.task_id, pool)),
        ],
    )

    assert verdicts == ["ok", "ok", "ok", "ok", "again", "fenced"]
    statuses = [world.task(task_id).status for task_id in ids]
    assert statuses == ["completed", "failed", "retrying", "queued", "completed", "running"]
    assert world.places([pool], [lease]) == dict.fromkeys([ids[2], ids[3], ids[5]], 1)
    record = world.read_pool(pool)
    assert (record.counts["completed"], record.counts["failed"]) == (2, 1)
    assert world.index_is_true()


def test_a_script_that_is_sent_again_changes_nothing(world: World, pool: str, lease: str) -> None:
    ids = world.to(pool, 5)
    calls = [world.finish_call(world.held(lease, pool, claim)) for claim in world.claim(lease, pool, 5)]

    first, second = ended(world, calls), ended(world, calls)

    assert (first, second) == (["ok"] * 5, ["again"] * 5)
    assert world.read_pool(pool).counts["completed"] == 5
    notes = world.redis.xrange(world.key("outbox"))
    assert [fields["task"] for _, fields in notes] == ids
    assert [fields["n"] for _, fields in notes] == ["1", "2", "3", "4", "5"]


def test_outcomes_of_one_batch_complete_it_once(world: World, pool: str, lease: str) -> None:
    world.submit(7, batch="all")
    claims = world.claim(lease, pool, 7)
    calls = [world.finish_call(world.held(lease, pool, claim)) for claim in claims]

    assert ended(world, calls) == ["ok"] * 7

    batch = world.redis.hgetall(world.key("batch", "all"))
    assert (batch["total"], batch["successful"], batch["failed"]) == ("7", "7", "0")


def test_a_task_whose_record_is_broken_keeps_no_other_from_its_end(world: World, pool: str, lease: str) -> None:
    ids = world.to(pool, 4)
    back, broken, good, again = (world.held(lease, pool, claim) for claim in world.claim(lease, pool, 4))
    record = world.key("task", broken.task_id)
    world.redis.delete(record)
    world.redis.set(record, "no hash")
    calls = [
        leases.hand_back(back, result_ttl=RESULT_TTL),
        world.finish_call(broken),
        world.finish_call(good),
        leases.retry(again, outcome='{"error": "not yet"}', delay=60, result_ttl=RESULT_TTL),
    ]

    assert ended(world, calls) == ["ok"] * 4
    assert ended(world, calls) == ["again", "fenced", "again", "again"]

    assert world.places([pool], [lease]) == {ids[0]: 1, ids[3]: 1}
    assert [world.task(one.task_id).status for one in (back, good, again)] == ["queued", "completed", "retrying"]
    assert world.read_pool(pool).counts["completed"] == 1
    letter = world.redis.hgetall(world.key("dead_letter", broken.task_id))
    assert letter["cause"].startswith("Its end could not be recorded: WRONGTYPE")
    assert json.loads(letter["message"])["headers"]["id"] == broken.task_id
    assert world.index_is_true()


@pytest.mark.parametrize(
    "told",
    [
        {"cool": {"worker": "terminal-x", "why": "too many \udcff"}},  # half a character, which JSON text can hold
        {"cool": {"worker": "terminal-x", "why": "much", "seconds": "soon"}},
        {"usage": {"usd": 1e308, "input": float("inf")}},
        {"usage": ["no", "figures"]},
        ["no", "object"],
    ],
)
def test_what_a_run_tells_besides_never_keeps_its_outcome_back(
    world: World, pool: str, lease: str, told: object
) -> None:
    world.to(pool, 3)
    claims = [world.held(lease, pool, claim) for claim in world.claim(lease, pool, 3)]
    text = json.dumps({"status": "failed", "error": "too many \udcff"})

    verdicts = ended(
        world,
        [
            leases.finish(one, status=status, outcome=text, meta="", result_ttl=RESULT_TTL, told=json.dumps(told))
            for one, status in zip(claims, ("failed", "dead", "timeout"), strict=True)
        ],
    )

    assert verdicts == ["ok"] * 3
    assert [world.task(one.task_id).status for one in claims] == ["failed", "dead", "timeout"]
    assert world.redis.zrange(world.key("dead"), 0, -1) == [claims[1].task_id]


@pytest.mark.parametrize("other", [{"status": "queued"}, {"claim": "another:1"}])
def test_a_claim_that_is_given_up_leaves_a_task_alone_that_another_attempt_has(
    world: World, pool: str, lease: str, other: dict[str, str]
) -> None:
    world.push_raw(pool, world.stock_message("t"))
    (claim,) = world.claim(lease, pool)
    world.redis.hset(world.key("task", "t"), mapping=other)
    before = world.task("t").status

    call = leases.release(world.held(lease, pool, claim), status="completed", outcome="{}", result_ttl=RESULT_TTL)

    assert ended(world, [call]) == ["ok"]
    assert world.task("t").status == before
    assert world.places([], [lease]) == {}
    assert world.read_pool(pool).counts["completed"] == 0


def test_a_claim_that_is_ended_twice_in_one_script_ends_as_it_was_ended_first(
    world: World, pool: str, lease: str
) -> None:
    world.to(pool, 2)
    one, other = (world.held(lease, pool, claim) for claim in world.claim(lease, pool, 2))
    calls = [leases.hand_back(one, result_ttl=RESULT_TTL), world.finish_call(one), world.finish_call(other)]

    assert ended(world, [*calls, calls[0]]) == ["ok", "again", "ok", "again"]

    assert world.places([pool], [lease]) == {one.task_id: 1}
    assert world.task(one.task_id).status == "queued"


def test_a_script_is_not_too_long_for_the_server() -> None:
    def ending(number: int, size: int, lease: str = "lease") -> Call[leases.Ending]:
        held = leases.Held(lease, str(number), f"task-{number}", "pool")
        return leases.finish(held, status="completed", outcome="x" * size, meta="", result_ttl=RESULT_TTL)

    def sizes(calls: list[Call[leases.Ending]]) -> list[int]:
        return [(len(one.arguments) - 3) // 8 for one in leases.together(calls)]

    assert sizes([]) == []
    assert sizes([ending(n, 10) for n in range(leases.ENDED_MOST + 1)]) == [leases.ENDED_MOST, 1]
    assert sizes([ending(n, leases.ENDED_BYTES * 2 // 3) for n in range(3)]) == [1, 1, 1]
    assert sizes([ending(0, 10), ending(1, 2 * leases.ENDED_BYTES), ending(2, 10)]) == [1, 1, 1]
    assert sizes([ending(0, 10), ending(1, 10, "other"), ending(2, 10, "other")]) == [1, 2]
