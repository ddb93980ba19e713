"""What a watch does when its cluster is away, ends it again and again, or tells nonsense."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.kube.client import Cluster
from mahavishnu_pools.kube.watching import Watch


class DeadCluster:
    """Lists nothing, refuses two streams and never answers to the third."""

    namespace = "n"

    def __init__(self) -> None:
        self.tries = 0
        self.hangs = asyncio.Event()

    async def find(self, kind: str, **_: Any) -> dict[str, Any]:
        return {"items": [], "metadata": {"resourceVersion": "1"}}

    @contextlib.asynccontextmanager
    async def stream(self, path: str, **_: Any) -> AsyncIterator[Any]:
        self.tries += 1
        if self.tries <= 2:
            raise errors.ClusterUnavailable("It is away.", cluster=None)
        self.hangs.set()
        await asyncio.Event().wait()
        yield None


async def test_a_cluster_that_is_tried_again_is_still_in_trouble() -> None:
    cluster = DeadCluster()
    watch = Watch(cast("Cluster", cluster), "Job", labels="", seen=lambda one, there: None)
    running = asyncio.create_task(watch.run())

    async with asyncio.timeout(30):
        await cluster.hangs.wait()

    assert watch.trouble == "It is away."
    running.cancel()


class OddCluster:
    """Answers each watch with the next of some lines of JSON; None is the answer 410. Then it tells nothing more."""

    namespace = "n"

    def __init__(self, *answers: list[Any] | None) -> None:
        self.answers = list(answers)
        self.lists = self.watches = 0
        self.idle = asyncio.Event()

    async def find(self, kind: str, **_: Any) -> dict[str, Any]:
        self.lists += 1
        return {"items": [], "metadata": {"resourceVersion": "1"}}

    @contextlib.asynccontextmanager
    async def stream(self, path: str, **_: Any) -> AsyncIterator[Any]:
        self.watches += 1
        if not self.answers:
            self.idle.set()
            await asyncio.Event().wait()
        answer = self.answers.pop(0)
        if answer is None:
            raise errors.ClusterRefused("Too old.", cluster=None, status=410, reason="Expired", quota=False)

        async def pieces() -> AsyncIterator[bytes]:
            for one in answer:
                yield json.dumps(one).encode() + b"\n"

        yield pieces()


async def until_idle(watch: Watch, cluster: OddCluster) -> list[float]:
    """Run a watch until its cluster has no answer left, and return the pauses it made."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(0)

    running = asyncio.create_task(watch.run(pause=pause))
    async with asyncio.timeout(30):
        await cluster.idle.wait()
    running.cancel()
    return pauses


def watch_of(cluster: OddCluster, seen: list[str] | None = None) -> Watch:
    told = [] if seen is None else seen
    return Watch(
        cast("Cluster", cluster), "Job", labels="", seen=lambda one, there: told.append(one["metadata"]["name"])
    )


@pytest.mark.parametrize("answer", [[], None], ids=["ended at once", "gone"])
async def test_watches_that_end_again_and_again_begin_ever_more_slowly(answer: list[Any] | None) -> None:
    cluster = OddCluster(*(answer for _ in range(12)))

    pauses = await until_idle(watch_of(cluster), cluster)

    assert len(pauses) == 12
    assert min(pauses) >= 0.1
    assert all(2.5 <= one <= 5.0 for one in pauses[5:])
    # What such watches leave out is learnt from lists.
    assert cluster.lists >= 10


async def test_an_ended_watch_goes_on_soon_when_it_told_something() -> None:
    names = [f"job-{number}" for number in range(8)]
    told: list[str] = []
    cluster = OddCluster(*([event(name)] for name in names))

    pauses = await until_idle(watch_of(cluster, told), cluster)

    assert told == names
    assert max(pauses) <= 0.2
    assert cluster.lists == 1


def event(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "ADDED", "object": {"metadata": {"name": name, "resourceVersion": "7", **more}, "spec": {"a": 1}}}


async def test_what_nobody_expected_is_logged_and_the_watch_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    cluster = OddCluster([{"type": "ADDED", "object": ["no object"]}], [event("good")])
    watch = watch_of(cluster, told)

    await until_idle(watch, cluster)

    assert "met what nobody expected" in caplog.text
    assert told == ["good"]
    assert cluster.lists == 2


async def test_a_watch_that_understands_nothing_says_so() -> None:
    class Nonsense(OddCluster):
        async def find(self, kind: str, **_: Any) -> dict[str, Any]:
            if self.lists == 3:
                self.idle.set()
            self.lists += 1
            return {"items": ["no object"], "metadata": {}}

    cluster = Nonsense()
    watch = watch_of(cluster)

    await until_idle(watch, cluster)

    assert "cannot be understood" in str(watch.trouble)


async def test_only_what_is_looked_at_is_kept() -> None:
    kept: list[dict[str, Any]] = []
    cluster = OddCluster([event("one", managedFields=[{"manager": "x"}], uid="u")])
    watch = Watch(cast("Cluster", cluster), "Job", labels="", seen=lambda one, there: kept.append(one))

    await until_idle(watch, cluster)

    assert kept == [{"metadata": {"name": "one", "resourceVersion": "7", "uid": "u"}}]
