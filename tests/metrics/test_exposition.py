"""What Prometheus is told is what happened, in a form it can read, for any process that asks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from prometheus_client.parser import text_string_to_metric_families

from mahavishnu_pools.metrics.definitions import METRICS
from mahavishnu_pools.metrics.exporter import exposition
from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.schemas.routing import Choice
from mahavishnu_pools.store import leases, outbox, pools, scaling, tasks
from mahavishnu_pools.store.client import AsyncStore
from tests.fixtures.valkey import PrivateValkey
from tests.store.world import RESULT_TTL, World

Labels = dict[str, str]


class Seen:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families = list(text_string_to_metric_families(text))
        self.samples = [sample for family in self.families for sample in family.samples]

    def value(self, name: str, /, **labels: str) -> float:
        (found,) = self.values(name, **labels)
        return found

    def values(self, name: str, /, **labels: str) -> list[float]:
        return [s.value for s in self.samples if s.name == name and labels.items() <= s.labels.items()]

    def label_values(self, name: str) -> set[str]:
        return {sample.labels[name] for sample in self.samples if name in sample.labels}


def scrape(world: World) -> Seen:
    async def read() -> bytes:
        async with AsyncStore(world.store.url, namespace=world.store.namespace) as store:
            return await exposition(store)

    return Seen(asyncio.run(read()).decode())


def ours(name: str) -> str:
    return f"mahavishnu_pools_{name}"


def end(world: World, pool: str, statuses: Iterable[str]) -> None:
    lease = world.lease(pool)
    for status in statuses:
        (claim,) = world.claim(lease, pool)
        world.run(world.finish_call(world.held(lease, pool, claim), status=status))


def test_outcomes_are_counted_by_pool_type_and_status(world: World) -> None:
    a, b = world.pool("a"), world.pool("b")
    world.to(a, 3)
    world.to(b, 1)
    end(world, a, ["completed", "completed", "timeout"])
    end(world, b, ["failed"])

    seen = scrape(world)

    tasks_total = ours("tasks_total")
    assert seen.value(tasks_total, pool="a", status="completed", task_type="prompt", pool_type="mahavishnu") == 2
    assert seen.value(tasks_total, pool="a", status="timeout") == 1
    assert seen.value(tasks_total, pool="b") == 1
    assert sum(seen.values(tasks_total)) == 4


def test_run_times_and_waits_are_histograms_whose_counts_and_sums_are_true(world: World) -> None:
    pool = world.pool("a")
    started = world.to(pool, 3)
    lease = world.lease(pool)
    claims = world.claim(lease, pool, 3)
    now = float(world.redis.time()[0])
    for task_id, seconds in zip(started, (0.02, 7, 5000), strict=True):
        world.redis.hset(world.key("task", task_id), "started", f"{now - seconds:.6f}")
    world.store.run_many([world.finish_call(world.held(lease, pool, claim)) for claim in claims])

    seen = scrape(world)

    bucket = ours("task_duration_seconds_bucket")
    # The server's clock goes on while the test runs: the edges are chosen far from the run times.
    assert [seen.value(bucket, le=le) for le in ("60.0", "3600.0", "+Inf")] == [2, 2, 3]
    assert seen.value(ours("task_duration_seconds_count")) == 3
    assert 5007 <= seen.value(ours("task_duration_seconds_sum")) < 5100
    assert seen.value(ours("queue_wait_seconds_count")) == 3
    assert seen.value("celery_task_runtime_bucket", name="prompt", le="+Inf") == 3


def test_a_wait_is_counted_once_for_the_first_start_and_not_for_later_ones(world: World) -> None:
    pool = world.pool("a")
    world.to(pool, 2)
    lease = world.lease(pool)
    back, again = world.claim(lease, pool, 2)
    world.run(leases.hand_back(world.held(lease, pool, back)))
    world.run(leases.retry(world.held(lease, pool, again), outcome="{}", delay=0))
    assert len(world.claim(lease, pool, 2)) == 2

    seen = scrape(world)

    assert seen.value(ours("queue_wait_seconds_count")) == 2
    assert seen.value(ours("task_retries_total")) == 1


def test_tasks_are_counted_once_by_what_chose_their_pool(world: World) -> None:
    pool = world.pool("a")
    some = world.envelopes(3)
    for _ in range(2):  # the second one after a lost reply
        world.run(tasks.submit(some, Choice("round_robin"), counted="round_robin"))
    world.run(tasks.submit(world.envelopes(1), Choice("pool", pool=pool), counted="pool"))

    seen = scrape(world)

    assert seen.value(ours("routed_tasks_total"), pool="a", strategy="round_robin") == 3
    assert seen.value(ours("routed_tasks_total"), pool="a", strategy="pool") == 1


def test_losses_and_dead_letters_are_counted_by_cause(world: World) -> None:
    pool = world.pool("a")
    (task,) = world.to(pool)
    for _ in range(3):
        lease = world.lease(pool)
        assert world.claim(lease, pool)
        world.reap(lease, cause="loss")
    world.to(pool)
    lease = world.lease(pool)
    world.claim(lease, pool)
    world.reap(lease, cause="node")

    seen = scrape(world)

    assert world.task(task).status.value == "dead"
    assert seen.value(ours("requeued_tasks_total"), cause="loss") == 2
    assert seen.value(ours("lost_groups_total"), cause="loss") == 3
    assert seen.value(ours("lost_groups_total"), cause="node") == 1
    assert seen.value(ours("dead_letters_total"), pool="a") == 1
    assert seen.value(ours("kept_dead_letters")) == 1


def test_a_group_that_ends_in_order_is_no_loss(world: World) -> None:
    pool = world.pool("a")

    world.reap(world.lease(pool), cause="node")

    assert scrape(world).values(ours("lost_groups_total")) == []


def test_scalings_are_counted_by_direction_and_by_who_did_them(world: World) -> None:
    pool = world.pool("a", workers=2)
    world.to(pool, 9)
    world.run(scaling.look("n", {pool: 1}, turn=5))
    assert world.run(scaling.set_workers(pool, "n", before=2, after=4, reason="much to do"))
    world.run(pools.change_pool(pool, workers=1))
    world.run(pools.change_pool(pool, workers=1))

    seen = scrape(world)

    assert seen.value(ours("scaling_events_total"), direction="up", by="auto") == 1
    assert seen.value(ours("scaling_events_total"), direction="down", by="hand") == 1
    assert seen.value(ours("workers_wanted")) == 1


def test_what_waits_runs_and_is_ready_is_told_of_every_pool(world: World) -> None:
    pool = world.pool("a", workers=4)
    group = pools.GroupInfo(node="n", status="ready", workers=4, memory_mb=20, cpu_percent=150, restarts=2)
    world.run(pools.node_beat(pools.NodeInfo(name="n", pid=1, started=1.0), {pool: group}, ttl=60))
    world.to(pool, 5)
    lease = world.lease(pool)
    world.claim(lease, pool, 2)

    seen = scrape(world)

    assert seen.value(ours("queued_tasks"), pool="a") == 3
    assert seen.value(ours("running_tasks"), pool="a") == 2
    assert seen.value(ours("oldest_queued_task_seconds"), pool="a") > 0
    assert seen.value(ours("workers_ready"), pool="a") == 4
    assert seen.value(ours("group_memory_bytes"), pool="a", node="n") == 20e6
    assert seen.value(ours("group_cpu_ratio")) == 1.5
    assert seen.value(ours("group_restarts_total")) == 2
    assert seen.value(ours("node_up"), node="n") == 1
    assert seen.value(ours("pools"), status="running") == 1
    assert seen.value(ours("pool_status"), pool="a", status="running") == 1
    assert seen.value("celery_queue_length", queue_name=f"pool.{pool}") == 3
    assert seen.value("celery_worker_up", hostname=f"{pool}@n") == 1


def test_the_memory_sync_is_told_by_sink(world: World) -> None:
    world.finished(world.pool("a"), 4)
    world.run(outbox.take_sink("akosha", owner="me"))
    entries = world.run(outbox.read_outbox(outbox.START, most=3))
    progress = outbox.Progress(outbox.START, entries[-1].entry, entries[-1].number, 3, taken=entries[-1].entry)
    world.run(outbox.confirm("akosha", progress, owner="me"))

    seen = scrape(world)

    assert seen.value(ours("memory_sync_pending_records"), sink="session_buddy") == 4
    assert seen.value(ours("memory_sync_pending_records"), sink="akosha") == 1
    assert seen.value(ours("memory_sync_delivered_records_total"), sink="akosha") == 3


def test_series_of_a_closed_pool_are_gone_and_one_of_its_name_begins_anew(world: World) -> None:
    pool = world.pool("a")
    world.finished(pool, 3)
    lease = next(iter(world.redis.smembers(world.key("pool_leases", pool))))
    world.reap(lease, cause="node")
    world.run(pools.change_pool(pool, status=PoolStatus.STOPPED))
    assert world.run(pools.remove_pool(pool)) is None

    gone = scrape(world)
    world.pool("a")
    anew = scrape(world)

    assert "a" not in gone.label_values("pool")
    assert gone.values("celery_queue_length") == []
    assert anew.values(ours("tasks_total"), pool="a") == []


def test_label_values_are_bounded_whatever_tasks_are_called(world: World) -> None:
    pool = world.pool("a")
    for n in range(2300):
        world.push_raw(pool, world.stock_message(f"t{n}", task=f'odd\n"{n}" ' + "x" * 300))
    lease = world.lease(pool)
    while claims := world.claim(lease, pool, 100):
        world.store.run_many([world.finish_call(world.held(lease, pool, claim)) for claim in claims])

    seen = scrape(world)

    found = seen.values(ours("tasks_total"), pool="a")
    assert sum(found) == 2300
    assert len(found) <= 2001
    assert seen.value(ours("tasks_total"), task_type="other") >= 290
    assert not any(label.startswith("t1") for label in seen.label_values("task_type"))


def test_every_metric_that_is_told_is_in_the_table_with_its_labels(world: World) -> None:
    world.finished(world.pool("a"), 1)
    table = {metric.name: metric for metric in METRICS}

    seen = scrape(world)

    for family in seen.families:
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(table[family.name].labels)


def test_without_an_answering_server_the_metrics_say_just_that(own_valkey_server: PrivateValkey) -> None:
    world = World(own_valkey_server.url, "x")
    own_valkey_server.stop()

    async def read() -> str:
        async with AsyncStore(own_valkey_server.url, timeout=0.2) as store:
            return (await exposition(store)).decode()

    seen = Seen(asyncio.run(read()))
    world.store.close()

    assert seen.value(ours("redis_up")) == 0
    assert {sample.name for sample in seen.samples} == {ours("redis_up"), ours("build_info")}


def test_a_task_that_was_retried_counts_one_outcome(world: World) -> None:
    pool = world.pool("a")
    world.to(pool)
    lease = world.lease(pool)
    (claim,) = world.claim(lease, pool)
    world.run(leases.retry(world.held(lease, pool, claim), outcome="{}", delay=0))
    (claim,) = world.claim(lease, pool)
    for _ in range(2):
        world.run(world.finish_call(world.held(lease, pool, claim)))
    world.run(tasks.cancel(claim.task_id, reason="late", result_ttl=RESULT_TTL))

    assert sum(scrape(world).values(ours("tasks_total"))) == 1
