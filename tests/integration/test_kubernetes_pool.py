"""A pool of Jobs with real worker groups: outcomes, a bridge that is killed, cancel and time-out, an orderly end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from mahavishnu_pools.schemas.pool import PoolStatus
from mahavishnu_pools.schemas.task import TaskResult
from mahavishnu_pools.store.leases import reap
from mahavishnu_pools.store.pools import change_pool
from mahavishnu_pools.store.tasks import cancel
from tests.fakes.kube_api import KubeApi
from tests.fixtures.groups import GroupProcess, Site, lines
from tests.waiting import eventually


@pytest.fixture
def pool(site: Site, kube: KubeApi, tmp_path: Path) -> str:
    return site.pool(workers=20, pool_type="kubernetes", kubernetes={"kubeconfig": str(kube.kubeconfig(tmp_path))})


@pytest.fixture
def group(site: Site, pool: str) -> Iterator[GroupProcess]:
    made = site.group(pool)
    yield made
    made.end()


def outcomes(site: Site, tasks: list[str], *, within: float = 60.0) -> list[TaskResult]:
    return [site.outcome(one, within=within) for one in tasks]


def kill(site: Site, group: GroupProcess) -> None:
    """Kill a bridge and hand its tasks back, as its agent does."""
    group.process.send_signal(signal.SIGKILL)
    group.process.wait(30)
    while site.run(reap(group.lease, cause="node", result_ttl=60)).left:
        continue


def running_pods(kube: KubeApi) -> int:
    return sum(one["status"].get("phase") == "Running" for one in kube.objects("pods"))


def test_each_task_is_one_job_and_its_output_and_exit_code_come_back(
    site: Site, pool: str, group: GroupProcess, kube: KubeApi
) -> None:
    good, bad = outcomes(site, [site.shell(pool, "echo done"), site.shell(pool, "echo half; exit 3")])

    assert (good.status, good.output, good.exit_code) == ("completed", "done\n", 0)
    assert (bad.status, bad.output, bad.exit_code) == ("failed", "half\n", 3)
    assert good.metadata["cluster"] == kube.url
    assert kube.made("jobs") == 2


def test_a_bridge_killed_over_twenty_jobs_leaves_twenty_outcomes_of_twenty_jobs(
    site: Site, pool: str, group: GroupProcess, kube: KubeApi, tmp_path: Path
) -> None:
    go, marks = tmp_path / "go", tmp_path / "marks"
    script = f"echo $MAHAVISHNU_TASK_ID >> {marks}; until [ -e {go} ]; do sleep 0.1; done; echo end"
    tasks = [site.shell(pool, script) for _ in range(20)]
    eventually(lambda: running_pods(kube), until=lambda count: count == 20, within=60)

    kill(site, group)
    successor = site.group(pool)
    eventually(lambda: [site.task(one).attempts for one in tasks], until=lambda found: found == [2] * 20, within=60)
    go.touch()

    assert {(one.status, one.output) for one in outcomes(site, tasks)} == {("completed", "end\n")}
    assert kube.made("jobs") == 20
    assert sorted(lines(marks)) == sorted(tasks)
    successor.end()


@pytest.mark.slow
def test_jobs_that_ended_while_no_bridge_was_there_have_their_outcomes(
    site: Site, pool: str, group: GroupProcess, kube: KubeApi, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    script = f"until [ -e {go} ]; do sleep 0.1; done; echo end; exit 4"
    tasks = [site.shell(pool, script) for _ in range(3)]
    eventually(lambda: running_pods(kube), until=lambda count: count == 3, within=60)

    kill(site, group)
    go.touch()
    eventually(lambda: running_pods(kube), until=lambda count: count == 0, within=30)
    successor = site.group(pool)

    assert {(one.status, one.output, one.exit_code) for one in outcomes(site, tasks)} == {("failed", "end\n", 4)}
    assert kube.made("jobs") == 3
    successor.end()


def test_a_task_cancelled_while_no_bridge_is_there_leaves_no_job_behind(
    site: Site, pool: str, group: GroupProcess, kube: KubeApi
) -> None:
    task = site.shell(pool, "sleep 100")
    eventually(lambda: running_pods(kube), within=30)

    kill(site, group)
    site.run(cancel(task, reason="Nobody wants it.", result_ttl=60))
    assert site.outcome(task).status == "cancelled"
    successor = site.group(pool)

    eventually(lambda: kube.left(), until=lambda left: left == [], within=30)
    successor.end()


def test_a_task_whose_job_vanished_runs_again_in_another_one(
    site: Site, pool: str, group: GroupProcess, kube: KubeApi, tmp_path: Path
) -> None:
    first = tmp_path / "first"
    task = site.shell(pool, f"mkdir {first} 2>/dev/null && sleep 100; echo again")
    eventually(first.exists, within=30)

    kube.delete("jobs", kube.objects("jobs")[0]["metadata"]["name"])

    found = site.outcome(task, within=60)
    assert (found.status, found.output) == ("completed", "again\n")
    assert kube.made("jobs") == 2


def test_cancel_and_timeout_end_the_pod(site: Site, pool: str, group: GroupProcess, kube: KubeApi) -> None:
    asked = site.shell(pool, "sleep 100")
    eventually(lambda: running_pods(kube), until=lambda count: count == 1, within=30)
    # Long enough for both to be seen running on a slow machine.
    late = site.shell(pool, "sleep 100", timeout=5)
    eventually(lambda: running_pods(kube), until=lambda count: count == 2, within=30)

    site.run(cancel(asked, reason="Nobody wants it.", result_ttl=60))

    assert [one.status for one in outcomes(site, [asked, late])] == ["cancelled", "timeout"]
    eventually(lambda: kube.left(), until=lambda left: left == [], within=30)


@pytest.mark.slow
def test_a_bridge_that_is_stopped_leaves_its_jobs_to_the_next(
    site: Site, pool: str, group: GroupProcess, kube: KubeApi, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    task = site.shell(pool, f"until [ -e {go} ]; do sleep 0.1; done; echo end")
    eventually(lambda: running_pods(kube), within=30)

    os.kill(group.pid, signal.SIGTERM)
    group.process.wait(60)
    assert running_pods(kube) == 1
    successor = site.group(pool)
    go.touch()

    assert site.outcome(task, within=60).output == "end\n"
    assert kube.made("jobs") == 1
    successor.end()


@pytest.mark.slow
def test_a_pool_that_has_ended_takes_its_jobs_with_it(
    site: Site, pool: str, group: GroupProcess, kube: KubeApi
) -> None:
    task = site.shell(pool, "echo done")
    assert site.outcome(task, within=30).ok
    assert kube.left()

    site.run(change_pool(pool, status=PoolStatus.STOPPED))
    os.kill(group.pid, signal.SIGTERM)
    group.process.wait(60)

    eventually(lambda: kube.left(), until=lambda left: left == [], within=30)


@pytest.mark.slow
def test_the_pool_says_what_is_wrong_with_its_cluster_until_it_is_well(
    site: Site, pool: str, group: GroupProcess, kube: KubeApi
) -> None:
    kube.token = "another"
    kube.cut_all()

    eventually(lambda: site.read_pool(pool), until=lambda found: found.status == "degraded", within=60)
    assert "does not accept these credentials" in str(site.read_pool(pool).reason)

    kube.token = "secret-token"
    eventually(lambda: site.read_pool(pool).status, until=lambda status: status == "running", within=60)
