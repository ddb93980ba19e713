"""What the API does with one request about objects of a kind."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import yaml

from tests.fakes.kube_http import Cut, Request, Response
from tests.fakes.kube_pods import Output
from tests.fakes.kube_store import Object, Refusal, merge

if TYPE_CHECKING:
    from tests.fakes.kube_api import KubeApi

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

MEGABYTE = 1024 * 1024


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
        at, limit = int(query.get("continue") or 0), int(query.get("limit") or 0)
        if limit and len(items) > at + limit:
            meta["continue"] = str(at + limit)
        items = items[at : at + limit] if limit else items[at:]
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
            and sum(len(base64.b64decode(one)) for one in given.get("data", {}).values()) > MEGABYTE
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
        at, begins, endings = 0, True, output.endings
        while True:
            for nanoseconds, line in output.entries[at:]:
                at += 1
                head = _stamp(nanoseconds) if stamped else b""
                shown = line
                if nanoseconds / 1e9 < since:
                    # Of what is older only a line that goes on later is shown.
                    shown, begins = b"", line.endswith(b"\n")
                if shown:
                    middle = shown[:-1].replace(b"\n", b"\n" + head) + shown[-1:]
                    yield (head if begins else b"") + middle
                    begins = shown.endswith(b"\n")
            if output.closed or not follow or endings != output.endings:
                return
            if generation != self.store.generation:
                raise Cut
            await asyncio.wait({asyncio.ensure_future(output.changed.wait())}, timeout=1.0)


def _stamp(nanoseconds: int) -> bytes:
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z ".encode()
