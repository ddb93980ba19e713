"""What a Job's course takes for its own: former Jobs of its name do not count, and what it gives up has ended."""

from __future__ import annotations

import asyncio
from typing import Any

from mahavishnu_pools.kube.board import Ticket
from workers.executors.job_course import Wishes


def job(uid: str) -> dict[str, Any]:
    return {"metadata": {"name": "mhv-task-0", "uid": uid}, "spec": {"large": "prompt"}}


def pod(uid: str, *, of: str) -> dict[str, Any]:
    owner = {"kind": "Job", "name": "mhv-task-0", "uid": of}
    return {"metadata": {"name": uid, "uid": uid, "ownerReferences": [owner]}}


def test_a_job_that_is_made_again_has_nothing_of_the_one_before() -> None:
    ticket = Ticket("mhv-task-0")
    ticket.note("Job", job("old"), True)
    ticket.note("Pod", pod("old-pod", of="old"), True)
    ticket.note("Job", job("old"), False)

    ticket.bind(job("new"))
    assert (ticket.job_gone, ticket.pod) == (False, None)
    assert ticket.job == {"metadata": {"name": "mhv-task-0", "uid": "new"}}

    # The watches tell of the old ones once more.
    ticket.note("Pod", pod("new-pod", of="new"), True)
    ticket.note("Job", job("old"), True)
    ticket.note("Job", job("old"), False)
    ticket.note("Pod", pod("old-pod", of="old"), True)
    ticket.note("Pod", pod("old-pod", of="old"), False)
    assert (ticket.job_gone, ticket.pod_gone) == (False, False)
    assert ticket.pod == pod("new-pod", of="new")

    ticket.note("Pod", pod("new-pod", of="new"), False)
    ticket.note("Job", job("new"), False)
    assert (ticket.job_gone, ticket.pod_gone) == (True, True)


async def test_what_is_given_up_has_ended_before_anything_else_is_done() -> None:
    ended = False

    async def making() -> None:
        nonlocal ended
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended = True

    assert await Wishes().until(making(), by=asyncio.get_running_loop().time() + 0.01) is None
    assert ended
