"""Runs the tasks of a pool as Jobs: worker threads wait, one event loop does the rest for all of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import AsyncExitStack, ExitStack

from mahavishnu_pools import errors
from mahavishnu_pools.kube.board import Board
from mahavishnu_pools.kube.clearing import delete_jobs
from mahavishnu_pools.kube.client import Cluster
from mahavishnu_pools.kube.jobs import TASK_ID, JobTask
from mahavishnu_pools.kube.objects import Manifest, kubernetes_of
from mahavishnu_pools.kube.pod_state import is_over
from mahavishnu_pools.schemas.pool import PoolConfig

from .interface import Cancellation
from .job_course import JobCourse, Wishes
from .job_verdict import JobEnd
from .loop_thread import LoopThread, lasting

logger = logging.getLogger(__name__)

#: Seconds the first contact with the cluster may take.
START_TIMEOUT = 20.0

#: Seconds the end may take, and that of a pool which takes its Jobs with it.
STOP_TIMEOUT, CLEAR_TIMEOUT = 5.0, 30.0

#: Seconds between two looks at the health of the cluster, and at Jobs nobody waits for.
LOOK_EVERY, SWEEP_EVERY = 1.0, 60.0

#: Seconds before work that met an error nobody expected is begun again.
AGAIN_AFTER = 5.0

#: Says which of some tasks have their outcome, or are not known any more.
EndedTasks = Callable[[Sequence[str]], set[str]]


class JobBridge:
    """The bridge of one worker group.

    ``report`` is called off the loop with what is wrong with the cluster, or None. ``ended`` is asked off the loop.
    """

    def __init__(
        self, config: PoolConfig, pool_id: str, *, report: Callable[[str | None], None], ended: EndedTasks
    ) -> None:
        self.config, self.pool_id = config, pool_id
        self._report, self._ended = report, ended
        self._loop = LoopThread("jobs")
        self._cluster: Cluster
        self._board: Board

    def start(self) -> None:
        """Connect, and list the pool's Jobs.

        Raises:
            ClusterUnavailable, ClusterRefused, InvalidField: the cluster cannot be used.
        """
        late = errors.ClusterUnavailable(f"The cluster did not answer in {START_TIMEOUT:g} s.")
        with ExitStack() as undo:
            undo.callback(self.close)
            self._loop.start(self._begin(), within=START_TIMEOUT, late=late)
            undo.pop_all()

    def close(self, *, delete: bool = False) -> None:
        """End the waiting and the connection, with ``delete`` all Jobs of the pool; a second call does nothing."""
        within = CLEAR_TIMEOUT + STOP_TIMEOUT if delete else STOP_TIMEOUT
        self._loop.close(lambda: self._end(delete=delete), within=within)

    @property
    def address(self) -> str:
        """Return where the cluster is."""
        return self._cluster.place.address

    def run(self, task: JobTask, *, consume: Callable[[bytes], None], cancellation: Cancellation) -> JobEnd:
        """Run a task and wait for its end. ``consume`` gets its output in another thread, and is done at the return.

        After ``close`` nothing is made.

        Raises:
            NotRun, ClusterRefused: it could not be run.
        """
        wishes = Wishes()

        def ask() -> None:
            wishes.keep = cancellation.leave
            self._loop.tell(wishes.ending.set)

        running = self._loop.call(self._course(task, consume, wishes))
        cancellation.on_cancel(ask)
        try:
            return running.result()
        except CancelledError:
            return JobEnd("cancelled", error="The worker group ended.", left=True)

    # ── in the loop ──

    async def _begin(self) -> None:
        self._stack = AsyncExitStack()
        self._cluster = await self._stack.enter_async_context(Cluster(kubernetes_of(self.config)))
        self._board = Board(self._cluster, self.pool_id)
        await self._board.begin()
        self._working = [
            asyncio.create_task(lasting(work, pause=AGAIN_AFTER), name=work.__name__)
            for work in (self._board.run, self._watch, self._sweep)
        ]

    async def _course(self, task: JobTask, consume: Callable[[bytes], None], wishes: Wishes) -> JobEnd:
        course = JobCourse(self._cluster, self._board, self.config, task, pool_id=self.pool_id, wishes=wishes)
        return await course.run(consume)

    async def _end(self, *, delete: bool) -> None:
        try:
            if delete and hasattr(self, "_cluster"):
                async with asyncio.timeout(CLEAR_TIMEOUT):
                    await delete_jobs(self._cluster, self.pool_id)
            await self._stack.aclose()
        except (errors.MahavishnuError, OSError, TimeoutError) as exc:
            logger.warning("The Jobs of %s are left to their time to live: %s", self.pool_id, exc)

    async def _watch(self) -> None:
        """Tell what is wrong with the cluster until somebody took note."""
        told: str | None = None
        while True:
            await asyncio.sleep(LOOK_EVERY)
            trouble = self._board.trouble
            if trouble == told:
                continue
            try:
                await asyncio.to_thread(self._report, trouble)
                told = trouble
            except errors.MahavishnuError as exc:
                logger.warning("The state of the cluster cannot be told now: %s", exc)

    async def _sweep(self) -> None:
        """Delete Jobs whose tasks were cancelled while no bridge was there to do it."""
        while True:
            left = _unattended(self._board)
            try:
                for task_id in await asyncio.to_thread(self._ended, list(left)) if left else ():
                    logger.info("The Job of the task %s is deleted: it has ended", task_id)
                    await self._cluster.delete("Job", left[task_id]["name"], uid=left[task_id]["uid"])
            except errors.MahavishnuError as exc:
                logger.warning("Jobs of tasks that ended are not deleted yet: %s", exc)
            await asyncio.sleep(SWEEP_EVERY)


def _unattended(board: Board) -> dict[str, Manifest]:
    """Return the metadata of the Jobs that run and that nobody waits for, by their tasks."""
    waited_for = board.waited_for
    return {
        str((job["metadata"].get("annotations") or {}).get(TASK_ID)): job["metadata"]
        for name, job in board.jobs.items()
        if name not in waited_for and not is_over(job)
    }
