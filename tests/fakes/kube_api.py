"""A Kubernetes API on loopback that speaks the part this project uses, and runs Jobs as processes of this machine.

It runs in a thread of its own and is spoken to through the real client. Faults can be had on demand.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import re
import ssl
import threading
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from tests.fakes.kube_calls import KINDS, MEGABYTE, Call
from tests.fakes.kube_http import HttpServer, Request, Response
from tests.fakes.kube_jobs import Controllers
from tests.fakes.kube_pods import PodRun
from tests.fakes.kube_store import Object, Refusal, Store
from tests.waiting import eventually

T = TypeVar("T")

_PATH = re.compile(
    r"/(?:api|apis)/(?P<api>v1|[^/]+/[^/]+)(?:/namespaces/(?P<namespace>[^/]+)(?=/))?"
    r"/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+))?(?:/(?P<part>[a-z]+))?"
)


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
        self.pod_refusal: str | None = None
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
    """The server. What tests may set: ``denied`` rights, ``job_quota``, ``pod_refusal``, ``token`` and ``faults``.

    ``peer`` is the name in the certificate of whoever may come in without a token.
    """

    def __init__(self, *namespaces: str, tls: ssl.SSLContext | None = None) -> None:
        self.peer: str | None = None
        self._tls = tls
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
        self.http = HttpServer(self._answer, tls=self._tls)
        for name in namespaces:
            await self.machine.store.add("namespaces", "", {"kind": "Namespace", "metadata": {"name": name}})
        await self.http.start()

    # ── what tests do and see ──

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.http.port}"

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

    def stop_listening(self) -> None:
        self._do(self.http.stop())

    def listen_again(self) -> None:
        self._do(self.http.start())

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

    def delete(self, plural: str, name: str, namespace: str = "mahavishnu", *, policy: str = "Background") -> None:
        self._do(self.machine.controllers.remove((plural, namespace, name), policy=policy))

    def end_logs(self) -> None:
        """End every stream of a log in order, as when a node puts a log into a new file."""

        async def end() -> None:
            for run in self.machine.controllers.pods.values():
                for log in run.logs.values():
                    log.end_streams()

        self._do(end())

    def stop(self) -> None:
        async def end() -> None:
            await self.machine.controllers.stop()
            await self.http.stop()

        self._do(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        eventually(lambda: not self._loop.is_running())
        self._thread.join(30)
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
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        known = self.peer is not None and request.peer == self.peer
        if not known and (scheme.lower(), token) != ("bearer", self.token):
            raise Refusal(401, "Unauthorized", "Unauthorized")
        if request.path.endswith("/selfsubjectaccessreviews"):
            return Response(201, self._review(request.json))
        found = _PATH.fullmatch(request.path)
        if found is None or (found["api"], found["plural"]) not in KINDS:
            raise Refusal(404, "NotFound", "the server could not find the requested resource")
        if len(request.body) > 3 * MEGABYTE:
            raise Refusal(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728")
        call = Call(self, request, found["api"], found["plural"], found["namespace"] or "", found["name"] or "")
        return await call.answer(found["part"] or "")

    def _review(self, given: Object) -> Object:
        about = given["spec"]["resourceAttributes"]
        resource = about["resource"] + (f"/{about['subresource']}" if about.get("subresource") else "")
        return {**given, "status": {"allowed": (about["verb"], resource) not in self.denied}}


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
