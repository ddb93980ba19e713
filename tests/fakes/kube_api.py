"""A Kubernetes API on loopback that speaks the part this project uses, and runs Jobs as processes of this machine.

It runs in a thread of its own and is spoken to through the real client. Faults can be had on demand.
"""

from __future__ import annotations

import asyncio
import base64
import concurrent.futures
import os
import re
import threading
import time
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import yaml

from tests.fakes.kube_http import Cut, HttpServer, Request, Response
from tests.fakes.kube_jobs import Controllers
from tests.fakes.kube_pods import Output, PodRun
from tests.fakes.kube_store import Object, Refusal, Store, merge
from tests.waiting import eventually

T = TypeVar("T")

#: Kinds by API and plural.
KINDS = {
    ("batch/v1", "jobs"): "Job",
    ("v1", "pods"): "Pod",
    ("v1", "secrets"): "Secret",
    ("v1", "configmaps"): "ConfigMap",
    ("v1", "events"): "Event",
    ("v1", "serviceaccounts"): "ServiceAccount",
    ("v1", "namespaces"): "Namespace",
    ("apps/v1", "deployments"): "Deployment",
    ("policy/v1", "poddisruptionbudgets"): "PodDisruptionBudget",
    ("autoscaling/v2", "horizontalpodautoscalers"): "HorizontalPodAutoscaler",
    ("keda.sh/v1alpha1", "scaledobjects"): "ScaledObject",
}

_PATH = re.compile(
    r"/(?:api|apis)/(?P<api>v1|[^/]+/[^/]+)(?:/namespaces/(?P<namespace>[^/]+)(?=/))?"
    r"/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+))?(?:/(?P<part>[a-z]+))?"
)

_MEGABYTE = 1024 * 1024


@dataclass
class Fault:
    """What happens to the next ``times`` requests that fit.

    ``status`` answers with it (and ``after`` as Retry-After); ``cut`` drops the connection ``before`` or ``after`` the
    effect; ``delay`` answers late, in seconds.
    """

    method: str = ""
    path: str = ""
    times: int = 1
    status: int | None = None
    reason: str = ""
    message: str = "injected"
    after: int | None = None
    cut: str | None = None
    delay: float = 0.0
    seen: int = 0

    def takes(self, request: Request) -> bool:
        fits = self.method in ("", request.method) and bool(re.search(self.path, request.path))
        if not fits or self.seen >= self.times:
            return False
        self.seen += 1
        return True


class Machine:
    """The cluster behind the API."""

    def __init__(self) -> None:
        self.store = Store()
        self.controllers = Controllers(self)
        self.path = os.environ["PATH"]
        self.unschedulable: str | None = None
        self.faster = 1.0

    async def schedulable(self, run: PodRun) -> None:
        while self.unschedulable:
            why = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": self.unschedulable}
            if run.pod["status"].get("conditions") != [why]:
                run.pod["status"]["conditions"] = [why]
                await self.store.touch("pods", run.pod)
            await self.pause(0.05)

    def alive(self, one: Object) -> bool:
        return any(known is one for known in self.store.objects.values())

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.faster)


class KubeApi:
    """The server. What tests may set: ``denied`` rights, ``job_quota``, ``pod_refusal``, ``token`` and ``faults``."""

    def __init__(self, *namespaces: str) -> None:
        self.faults: list[Fault] = []
        self.denied: set[tuple[str, str]] = set()
        self.job_quota: int | None = None
        self.pod_refusal: str | None = None
        self.token = "secret-token"
        self.requests: list[tuple[str, str]] = []
        self.watches = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="kube-api", daemon=True)
        self._thread.start()
        self.machine: Machine
        self._do(self._begin(namespaces or ("mahavishnu",)))

    def _do(self, work: Coroutine[Any, Any, T], within: float = 60.0) -> T:
        future: concurrent.futures.Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(within)

    async def _begin(self, namespaces: tuple[str, ...]) -> None:
        self.machine = Machine()
        self.http = HttpServer(self._answer)
        for name in namespaces:
            await self.machine.store.add("namespaces", "", {"kind": "Namespace", "metadata": {"name": name}})
        await self.http.start()

    # ── what tests do and see ──

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.port}"

    def kubeconfig(self, directory: Path, *, context: str = "fake", token: str | None = None) -> Path:
        """Write a kubeconfig with one context, and return its path."""
        file = directory / f"kubeconfig-{context}"
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": context,
            "clusters": [{"name": "here", "cluster": {"server": self.url}}],
            "users": [{"name": "me", "user": {"token": token or self.token}}],
            "contexts": [{"name": context, "context": {"cluster": "here", "user": "me"}}],
        }
        file.write_text(yaml.safe_dump(content))
        return file

    def objects(self, plural: str) -> list[Object]:
        return [one for (kind, _, _), one in list(self.machine.store.objects.items()) if kind == plural]

    def made(self, plural: str) -> int:
        """Return how many objects of a kind were made in all."""
        return len([path for method, path in self.requests if method == "MADE" and path == plural])

    def left(self) -> list[str]:
        """Return what is left beside namespaces."""
        return [f"{plural}/{name}" for plural, _, name in list(self.machine.store.objects) if plural != "namespaces"]

    def inject(self, **fault: Any) -> Fault:
        self.faults.append(Fault(**fault))
        return self.faults[-1]

    def restart(self, *, away: float = 0.3) -> None:
        """End every connection, be away, and come back with all objects, but without the versions before."""

        async def again() -> None:
            await self.http.stop()
            await self.machine.store.end_watches()
            self.machine.store.forget_history()
            await asyncio.sleep(away)
            await self.http.start()

        self._do(again())

    def end_watches(self) -> None:
        self._do(self.machine.store.end_watches())

    def forget_history(self) -> None:
        async def forget() -> None:
            self.machine.store.forget_history()
            await self.machine.store.end_watches()

        self._do(forget())

    def cut_all(self) -> None:
        async def cut() -> None:
            self.http.cut_all()

        self._do(cut())

    def evict(self, name: str) -> None:
        self._do(self.machine.controllers.evict(name))

    def delete(self, plural: str, name: str, namespace: str = "mahavishnu") -> None:
        self._do(self.machine.controllers.remove((plural, namespace, name)))

    def stop(self) -> None:
        async def end() -> None:
            await self.machine.controllers.stop()
            await self.http.stop()

        self._do(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        eventually(lambda: not self._loop.is_running())
        self._thread.join(10)
        self._loop.close()

    # ── requests ──

    async def _answer(self, request: Request) -> Response:
        self.requests.append((request.method, request.path))
        fault = next((one for one in self.faults if one.takes(request)), None)
        if fault is not None and fault.delay:
            await asyncio.sleep(fault.delay)
        if fault is not None and fault.cut == "before":
            return Response(cut=True)
        try:
            if fault is not None and fault.status is not None:
                raise Refusal(fault.status, fault.reason, fault.message)
            response = await self._do_request(request)
        except Refusal as no:
            headers = {"Retry-After": str(fault.after)} if fault is not None and fault.after is not None else {}
            return Response(no.code, no.status, headers)
        return Response(cut=True) if fault is not None and fault.cut == "after" else response

    async def _do_request(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            raise Refusal(401, "Unauthorized", "Unauthorized")
        if request.path.endswith("/selfsubjectaccessreviews"):
            return Response(201, self._review(request.json))
        found = _PATH.fullmatch(request.path)
        if found is None or (found["api"], found["plural"]) not in KINDS:
            raise Refusal(404, "NotFound", "the server could not find the requested resource")
        if len(request.body) > 3 * _MEGABYTE:
            raise Refusal(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728")
        call = Call(self, request, found["api"], found["plural"], found["namespace"] or "", found["name"] or "")
        return await call.answer(found["part"] or "")

    def _review(self, given: Object) -> Object:
        about = given["spec"]["resourceAttributes"]
        resource = about["resource"] + (f"/{about['subresource']}" if about.get("subresource") else "")
        return {**given, "status": {"allowed": (about["verb"], resource) not in self.denied}}


class Call:
    """One request about objects of a kind."""

    def __init__(
        self, api: KubeApi, request: Request, group_version: str, plural: str, namespace: str, name: str
    ) -> None:
        self.api, self.request = api, request
        self.store = api.machine.store
        self.version, self.plural, self.namespace, self.name = group_version, plural, namespace, name
        self.group = group_version.partition("/")[0] if "/" in group_version else ""
        self.key = (plural, namespace, name)

    async def answer(self, part: str) -> Response:
        verb = self._verb()
        self._check_rights(verb, part)
        if (
            verb in ("create", "patch")
            and self.namespace
            and ("namespaces", "", self.namespace) not in self.store.objects
        ):
            raise Refusal(404, "NotFound", f'namespaces "{self.namespace}" not found')
        if part == "log":
            return await self._log()
        return await getattr(self, f"_{verb}")()

    def _verb(self) -> str:
        method = self.request.method
        if method == "GET" and not self.name:
            return "watch" if self.request.query.get("watch") in ("true", "1", "True") else "list"
        return {"GET": "get", "POST": "create", "PATCH": "patch", "DELETE": "delete", "PUT": "update"}[method]

    def _check_rights(self, verb: str, part: str) -> None:
        resource = self.plural + (f"/{part}" if part else "")
        if (verb, resource) not in self.api.denied:
            return
        shown, where = (
            f"{self.plural}.{self.group}" if self.group else self.plural,
            f'in the namespace "{self.namespace}"',
        )
        text = f'User "jane" cannot {verb} resource "{resource}" in API group "{self.group}" {where}'
        raise Refusal(403, "Forbidden", f"{shown} is forbidden: {text}")

    async def _get(self) -> Response:
        return Response(200, self.store.get(self.plural, self.namespace, self.name, self.group))

    async def _list(self) -> Response:
        query = self.request.query
        labels, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
        items = self.store.select(self.plural, self.namespace, labels, fields)
        meta = {"resourceVersion": str(self.store.version)}
        kind = KINDS[self.version, self.plural]
        return Response(200, {"kind": f"{kind}List", "apiVersion": self.version, "metadata": meta, "items": items})

    async def _watch(self) -> Response:
        self.api.watches += 1
        return Response(stream=self.store.watch(self.plural, self.namespace, self.request.query))

    async def _create(self) -> Response:
        given = self.request.json
        self._check(given)
        if self.request.query.get("dryRun") == "All":
            return Response(201, given)
        made = await self.store.add(self.plural, self.namespace, given, self.group)
        self.api.requests.append(("MADE", self.plural))
        if self.plural == "jobs":
            self.api.machine.controllers.start(made)
        return Response(201, made)

    def _check(self, given: Object) -> None:
        name = given["metadata"].get("name")
        if self.plural == "jobs" and self.api.job_quota is not None:
            used = len(self.store.select("jobs", self.namespace))
            if used >= self.api.job_quota:
                limit = f"used: count/jobs.batch={used}, limited: count/jobs.batch={self.api.job_quota}"
                text = f"exceeded quota: team, requested: count/jobs.batch=1, {limit}"
                raise Refusal(403, "Forbidden", f'jobs.batch "{name}" is forbidden: {text}')
        if self.plural == "pods" and self.api.pod_refusal:
            raise Refusal(403, "Forbidden", f'pods "{name}" is forbidden: {self.api.pod_refusal}')
        if (
            self.plural == "secrets"
            and sum(len(base64.b64decode(one)) for one in given.get("data", {}).values()) > _MEGABYTE
        ):
            raise Refusal(
                422, "Invalid", f'Secret "{name}" is invalid: data: Too long: must have at most 1048576 bytes'
            )

    async def _patch(self) -> Response:
        change = yaml.safe_load(self.request.body)
        one = self.store.objects.get(self.key)
        applied = self.request.headers["content-type"].startswith("application/apply-patch")
        dry = self.request.query.get("dryRun") == "All"
        if one is None and applied:
            self._check(change)
            if not dry:
                one = await self.store.add(self.plural, self.namespace, change, self.group)
                self.api.requests.append(("MADE", self.plural))
            return Response(201, one or change)
        one = self.store.get(self.plural, self.namespace, self.name, self.group)
        if not dry:
            merge(one, change)
            await self.store.touch(self.plural, one)
        return Response(200, one)

    async def _delete(self) -> Response:
        one = self.store.get(self.plural, self.namespace, self.name, self.group)
        options = self.request.json or {}
        wanted = (options.get("preconditions") or {}).get("uid")
        if wanted and wanted != one["metadata"]["uid"]:
            raise Refusal(409, "Conflict", "Precondition failed: UID in precondition does not match")
        query = self.request.query.get("propagationPolicy")
        policy = options.get("propagationPolicy") or query or ("Orphan" if self.plural == "jobs" else "Background")
        removing = self.api.machine.controllers.remove(self.key, policy=policy, grace=options.get("gracePeriodSeconds"))
        if self.plural == "pods":
            self.api.machine.controllers._spawn(removing)
        else:
            await removing
        return Response(200, {"kind": "Status", "apiVersion": "v1", "status": "Success", "metadata": {}})

    async def _log(self) -> Response:
        pod = self.store.get("pods", self.namespace, self.name)
        run = self.api.machine.controllers.pods.get(pod["metadata"]["uid"])
        container = self.request.query.get("container") or pod["spec"]["containers"][0]["name"]
        output = run.logs.get(container) if run else None
        if output is None:
            text = f'container "{container}" in pod "{self.name}" is waiting to start: ContainerCreating'
            raise Refusal(400, "BadRequest", text)
        return Response(headers={"Content-Type": "text/plain"}, stream=self._lines(output))

    async def _lines(self, output: Output) -> AsyncIterator[bytes]:
        query, generation = self.request.query, self.store.generation
        follow, stamped = query.get("follow") == "true", query.get("timestamps") == "true"
        since = datetime.fromisoformat(query["sinceTime"]).timestamp() if "sinceTime" in query else 0.0
        at, begins = 0, True
        while True:
            for nanoseconds, line in output.entries[at:]:
                at += 1
                if nanoseconds / 1e9 >= since or not begins:
                    yield (_stamp(nanoseconds) if stamped and begins else b"") + line
                    begins = line.endswith(b"\n")
            if output.closed or not follow:
                return
            if generation != self.store.generation:
                raise Cut
            await asyncio.wait({asyncio.ensure_future(output.changed.wait())}, timeout=1.0)


def _stamp(nanoseconds: int) -> bytes:
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z ".encode()


def main() -> None:
    """Serve until interrupted; prints the path of a kubeconfig."""
    import sys

    api = KubeApi(*sys.argv[2:])
    print(api.kubeconfig(Path(sys.argv[1])), flush=True)
    try:
        while True:
            time.sleep(60)
    finally:
        api.stop()


if __name__ == "__main__":
    main()
