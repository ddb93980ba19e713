"""What the controllers of a cluster do: Jobs have Pods, deadlines and ends; what belongs to nothing is collected."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import secrets
from typing import TYPE_CHECKING

from tests.fakes.kube_pods import PodRun
from tests.fakes.kube_store import Key, Object, now

if TYPE_CHECKING:
    from tests.fakes.kube_api import Machine


class Controllers:
    """Looks after Jobs and Pods; all in the loop of the machine."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.pods: dict[str, PodRun] = {}
        self.tasks: set[asyncio.Task[None]] = set()

    def start(self, job: Object) -> None:
        self._spawn(self._job(job))

    def _spawn(self, work: object) -> asyncio.Task[None]:
        task = asyncio.create_task(work)  # type: ignore[arg-type]
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def stop(self) -> None:
        await asyncio.gather(*(run.end(0.0) for run in self.pods.values()))
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _job(self, job: Object) -> None:
        machine, spec = self.machine, job["spec"]
        job["status"] = {"startTime": now(), "active": 1}
        await machine.store.touch("jobs", job)
        if machine.pod_refusal:
            await self._refused(job, machine.pod_refusal)
            return
        pod = await self._pod(job)
        run = self.pods[pod["metadata"]["uid"]] = PodRun(machine, pod)
        working = self._spawn(run.run())
        try:
            await asyncio.wait_for(asyncio.shield(run.gone.wait()), spec.get("activeDeadlineSeconds"))
        except TimeoutError:
            if machine.alive(job):
                text = "Job was active longer than specified deadline"
                await self._condition(job, "FailureTarget", "DeadlineExceeded", text)
                await self.remove(("pods", pod["metadata"]["namespace"], pod["metadata"]["name"]))
                await self._condition(job, "Failed", "DeadlineExceeded", text)
        with contextlib.suppress(asyncio.CancelledError):
            await working
        if machine.alive(job) and not any(one["type"] == "Failed" for one in job["status"].get("conditions", [])):
            if pod["status"]["phase"] == "Succeeded":
                await self._condition(
                    job, "Complete", "CompletionsReached", "Reached expected number of succeeded pods"
                )
            else:
                text = "Job has reached the specified backoff limit"
                await self._condition(job, "Failed", "BackoffLimitExceeded", text)
        ttl = spec.get("ttlSecondsAfterFinished")
        if ttl is not None and machine.alive(job):
            await machine.pause(ttl)
            await self.remove(("jobs", job["metadata"]["namespace"], job["metadata"]["name"]))

    async def _refused(self, job: Object, why: str) -> None:
        meta = job["metadata"]
        about = {"kind": "Job", "name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"]}
        event = {
            "kind": "Event",
            "metadata": {"name": f"{meta['name']}.17", "ownerReferences": [{"uid": meta["uid"]}]},
            "involvedObject": about,
            "reason": "FailedCreate",
            "message": f"Error creating: {why}",
        }
        await self.machine.store.add("events", meta["namespace"], event)

    async def _condition(self, job: Object, kind: str, reason: str, message: str) -> None:
        conditions = job["status"].setdefault("conditions", [])
        conditions.append({"type": kind, "status": "True", "reason": reason, "message": message})
        if kind in ("Complete", "Failed"):
            job["status"]["active"] = 0
        if self.machine.alive(job):
            await self.machine.store.touch("jobs", job)

    async def _pod(self, job: Object) -> Object:
        template = copy.deepcopy(job["spec"]["template"])
        meta = job["metadata"]
        labels = {**template.get("metadata", {}).get("labels", {}), "batch.kubernetes.io/job-name": meta["name"]}
        reference = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"]}
        about = {
            **template.get("metadata", {}),
            "name": f"{meta['name']}-{secrets.token_hex(3)[:5]}",
            "labels": {**labels, "job-name": meta["name"]},
            "ownerReferences": [{**reference, "controller": True, "blockOwnerDeletion": True}],
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": template["spec"]}
        pod["status"] = {"phase": "Pending"}
        return await self.machine.store.add("pods", meta["namespace"], pod)

    async def remove(self, key: Key, *, policy: str = "Background", grace: float | None = None) -> None:
        """Delete an object, and what belongs to it unless it is to be orphaned; Pods take their time."""
        store = self.machine.store
        one = store.objects.get(key)
        if one is None:
            return
        run = self.pods.get(one["metadata"]["uid"]) if key[0] == "pods" else None
        if run is not None and "deletionTimestamp" not in one["metadata"]:
            one["metadata"]["deletionTimestamp"] = now()
            await store.touch("pods", one)
            given = one["spec"].get("terminationGracePeriodSeconds", 30)
            await run.end(given if grace is None else grace)
        await store.drop(key)
        if policy == "Orphan":
            return
        for other, _ in store.owned_by(one["metadata"]["uid"]):
            self._spawn(self.remove(other, grace=grace))

    async def evict(self, name: str) -> None:
        """End a Pod as a node does that runs out of something."""
        run = next(run for run in self.pods.values() if run.name.startswith(name))
        run.pod["status"] |= {
            "phase": "Failed",
            "reason": "Evicted",
            "message": "The node was low on resource: memory.",
            "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}],
        }
        await run.end(0.0, "evicted")
        await self.machine.store.touch("pods", run.pod)
