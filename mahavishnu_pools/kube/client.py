"""The API of one cluster, by kinds of objects: plain data goes in and comes out, errors are sentences."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from mahavishnu_pools import errors
from mahavishnu_pools.kube.objects import APP, Manifest
from mahavishnu_pools.kube.paths import KINDS
from mahavishnu_pools.kube.rights import Right
from mahavishnu_pools.kube.transport import Transport

logger = logging.getLogger(__name__)

_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"

#: Objects that are asked for at once, and how often a list is begun of which a piece came too late.
PAGE, LISTS = 200, 3

#: The status that says that the place in a list is forgotten.
_GONE = 410


class Cluster(Transport):
    """One cluster, for use in ``async with``.

    Calls raise ``ClusterUnavailable`` when it gave no usable answer in time, ``ClusterRefused`` when it said no.
    """

    async def get(self, kind: str, name: str) -> Manifest | None:
        """Return an object, None when it does not exist."""
        try:
            return await self.call("GET", self._path(kind, name))
        except errors.ClusterRefused as exc:
            if exc.details()["reason"] == "NotFound":
                return None
            raise

    async def find(self, kind: str, *, labels: str = "", fields: str = "") -> Manifest:
        """Return the list object of a kind with all ``items``; ``labels`` and ``fields`` are selectors."""
        query = {"labelSelector": labels, "fieldSelector": fields, "limit": str(PAGE)}
        query = {name: text for name, text in query.items() if text}
        for _ in range(LISTS):
            try:
                return await self._pages(kind, query)
            except errors.ClusterRefused as exc:
                if exc.details()["status"] != _GONE:
                    raise
                logger.debug("The list of %s begins anew: %s", kind, exc)
        # It changes faster than it is read: then all of it at once.
        return await self.call("GET", self._path(kind), query={**query, "limit": "0"})

    async def _pages(self, kind: str, query: Mapping[str, str]) -> Manifest:
        """Read a list piece by piece; all pieces are of the moment of the first."""
        page = found = await self.call("GET", self._path(kind), query=query)
        items: list[Manifest] = list(page.get("items") or [])
        while token := (page.get("metadata") or {}).get("continue"):
            page = await self.call("GET", self._path(kind), query={**query, "continue": str(token)})
            items += page.get("items") or []
        return {**found, "items": items}

    async def create(self, manifest: Manifest) -> Manifest | None:
        """Make an object and return it; None when one of its name exists, maybe of an earlier try of this call."""
        try:
            return await self.call("POST", self._path(manifest["kind"]), body=manifest)
        except errors.ClusterRefused as exc:
            if exc.details()["reason"] == "AlreadyExists":
                return None
            raise

    async def apply(self, manifest: Manifest, *, dry_run: bool = False) -> Manifest:
        """Have an object as the manifest says; fields nobody named here stay as others set them."""
        query = {"fieldManager": APP, "force": "true", **({"dryRun": "All"} if dry_run else {})}
        path = self._path(manifest["kind"], manifest["metadata"]["name"])
        return await self.call("PATCH", path, query=query, body=manifest, content=_APPLY)

    async def dry_create(self, manifest: Manifest) -> None:
        """Have the API say what it finds wrong with a manifest; nothing is made."""
        await self.call("POST", self._path(manifest["kind"]), query={"dryRun": "All"}, body=manifest)

    async def patch(self, kind: str, name: str, change: Mapping[str, Any]) -> Manifest:
        """Change some fields of an object (JSON merge patch)."""
        return await self.call("PATCH", self._path(kind, name), body=change, content=_MERGE)

    async def delete(self, kind: str, name: str, *, grace: int | None = None, uid: str | None = None) -> bool:
        """Delete an object with what belongs to it; False when it is gone, or (``uid``) another has its name."""
        options: Manifest = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        try:
            await self.call("DELETE", self._path(kind, name), body=options)
        except errors.ClusterRefused as exc:
            if exc.details()["status"] in (404, 409):
                return False
            raise
        return True

    async def missing_rights(self, rights: Iterable[Right]) -> list[str]:
        """Return what is not allowed, in words such as ``create jobs.batch``."""
        asked = [(right, verb) for right in rights for verb in right.verbs]
        allowed = await asyncio.gather(*(self._allowed(right, verb) for right, verb in asked))
        return [
            f"{verb} {right.resource}{'.' if right.group else ''}{right.group}"
            for (right, verb), yes in zip(asked, allowed, strict=True)
            if not yes
        ]

    async def _allowed(self, right: Right, verb: str) -> bool:
        resource, _, part = right.resource.partition("/")
        about = {"group": right.group, "resource": resource, "subresource": part, "verb": verb}
        if not right.everywhere:
            about["namespace"] = self.namespace
        api = KINDS["SelfSubjectAccessReview"].api
        review = {"apiVersion": api, "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": about}}
        found = await self.call("POST", self._path("SelfSubjectAccessReview"), body=review)
        return bool((found.get("status") or {}).get("allowed"))

    def _path(self, kind: str, name: str | None = None) -> str:
        return KINDS[kind].path(self.namespace, name)
