"""What a cluster does with Deployments: their Pods are made, replaced and counted, and an autoscaler keeps its limits.

A container that ends is not started again in its Pod; the Pod is replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import hashlib
import json
import secrets
from typing import Any

from tests.fakes.kube_api import KubeApi
from tests.fakes.kube_pods import Container, PodRun, _moved, expand
from tests.fakes.kube_store import Object, Refusal

#: Seconds between two looks at everything.
PAUSE = 0.1

_HASH = "pod-template-hash"


class WorkerPod(PodRun):
    """A Pod whose ConfigMaps are plain text."""

    def _values(self, plural: str, name: str) -> dict[str, str]:
        if plural == "secrets":
            return super()._values(plural, name)
        found = self.machine.store.get(plural, self.pod["metadata"]["namespace"], name)
        return dict(found.get("data") or {})


class Deployments:
    """Runs in the loop of the API. ``asked`` is how many Pods the load asks for, by Deployment (None: no metrics)."""

    def __init__(self, api: KubeApi) -> None:
        self.api = api
        self.asked: dict[str, int] = {}
        self.quota: int | None = None
        self._machine = api.machine
        self._ready: set[str] = set()
        self._working: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.api._do(self._start())

    async def _start(self) -> None:
        self._working = asyncio.create_task(self._work())

    def stop(self) -> None:
        async def end() -> None:
            assert self._working is not None
            self._working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._working
            runs = [run for run in self._machine.controllers.pods.values() if run.process is not None]
            await asyncio.gather(*(run.end(0.0) for run in runs))
            # Not only the first processes: whatever else was in the containers.
            await asyncio.wait_for(asyncio.gather(*(run.gone.wait() for run in runs)), 30.0)

        self.api._do(end())

    def kill(self, pod: str) -> None:
        """End a Pod as when its machine is gone: at once, and nobody says good-bye."""

        async def end() -> None:
            for run in self._machine.controllers.pods.values():
                if run.name == pod and run.process is not None:
                    run._sweep()
            await self._machine.controllers.remove(("pods", "mahavishnu", pod), grace=0.0)

        self.api._do(end())

    async def _work(self) -> None:
        while True:
            for deployment in self._all("deployments"):
                self._autoscale(deployment)
                await self._look_after(deployment)
            await asyncio.sleep(PAUSE)

    def _all(self, plural: str) -> list[Object]:
        return [one for (kind, _, _), one in list(self._machine.store.objects.items()) if kind == plural]

    def _autoscale(self, deployment: Object) -> None:
        spec, name = deployment["spec"], deployment["metadata"]["name"]
        spec.setdefault("replicas", 1)
        for scaler in self._all("horizontalpodautoscalers"):
            if scaler["spec"]["scaleTargetRef"]["name"] != name:
                continue
            least, most = scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]
            spec["replicas"] = max(least, min(most, self.asked.get(name, spec["replicas"])))
            active = {"type": "ScalingActive", "status": "True", "reason": "ValidMetricFound", "message": ""}
            if name not in self.asked:
                text = "the HPA was unable to compute the replica count: failed to get cpu utilization"
                active |= {"status": "False", "reason": "FailedGetResourceMetric", "message": text}
            scaler["status"] = {"conditions": [active]}

    async def _look_after(self, deployment: Object) -> None:
        spec, status = deployment["spec"], deployment.setdefault("status", {})
        template = json.dumps(spec["template"], sort_keys=True)
        newest = hashlib.blake2s(template.encode(), digest_size=5).hexdigest()
        mine = [one for _, one in self._machine.store.owned_by(deployment["metadata"]["uid"])]
        for pod in mine:
            await self._probe(pod)
        living = [pod for pod in mine if "deletionTimestamp" not in pod["metadata"]]
        new = [pod for pod in living if pod["metadata"]["labels"][_HASH] == newest]
        ready = [pod for pod in new if pod["metadata"]["uid"] in self._ready]
        if len(new) < spec["replicas"]:
            await self._make(deployment, newest)
        superfluous = [pod for pod in new if pod not in ready] + ready
        superfluous = superfluous[: max(0, len(new) - spec["replicas"])]
        if len(ready) >= spec["replicas"]:
            superfluous += [pod for pod in living if pod not in new]
        for pod in superfluous:
            key = ("pods", pod["metadata"]["namespace"], pod["metadata"]["name"])
            self._machine.controllers._spawn(self._machine.controllers.remove(key))
        ended = [pod for pod in living if pod["status"]["phase"] in ("Failed", "Succeeded")]
        for pod in ended:
            await self._machine.store.drop(("pods", pod["metadata"]["namespace"], pod["metadata"]["name"]))
        status |= {"replicas": len(living), "updatedReplicas": len(new), "readyReplicas": len(ready)}

    async def _make(self, deployment: Object, newest: str) -> None:
        meta = deployment["metadata"]
        made = [one for _, one in self._machine.store.owned_by(meta["uid"])]
        if self.quota is not None and len(made) >= self.quota:
            text = f'pods "{meta["name"]}" is forbidden: exceeded quota: team, limited: pods={self.quota}'
            failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": text}
            deployment["status"]["conditions"] = [failure]
            return
        if not self._machine.alive(deployment):
            return  # deleted while its Pods were looked at
        template = copy.deepcopy(deployment["spec"]["template"])
        reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": meta["name"], "uid": meta["uid"]}
        about = {
            **template["metadata"],
            "name": f"{meta['name']}-{newest}-{secrets.token_hex(3)[:5]}",
            "labels": {**template["metadata"]["labels"], _HASH: newest},
            "ownerReferences": [{**reference, "controller": True}],
        }
        given = {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": template["spec"]}
        pod = await self._machine.store.add("pods", meta["namespace"], {**given, "status": {"phase": "Pending"}})
        run = self._machine.controllers.pods[pod["metadata"]["uid"]] = WorkerPod(self._machine, pod)
        self._machine.controllers._spawn(run.run())

    async def _probe(self, pod: Object) -> None:
        """Ask a Pod that is not ready yet whether it is, as the kubelet does."""
        uid, [container] = pod["metadata"]["uid"], pod["spec"]["containers"]
        run = self._machine.controllers.pods[uid]
        if uid in self._ready or pod["status"]["phase"] != "Running":
            return
        try:
            code = await self._exec(run, container, container["readinessProbe"]["exec"]["command"])
        except (Refusal, Container):
            return  # its settings have been removed, and it will be
        if code == 0:
            self._ready.add(uid)

    async def _exec(self, run: PodRun, container: Object, command: list[str]) -> int:
        mounts = run._mounts(container)
        env: dict[str, Any] = run._environment(container)
        env = {name: _moved(text, mounts, tmp=True) for name, text in env.items()}
        process = await asyncio.create_subprocess_exec(
            *(expand(one, env) for one in command),
            env={"PATH": self._machine.path, **env},
            cwd=run.directory,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            return await process.wait()
        finally:
            # Given up half-way: the probe does not outlive the loop that would have waited for it.
            if process.returncode is None:
                process.kill()
                await process.wait()
