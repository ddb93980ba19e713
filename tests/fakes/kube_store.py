"""What a cluster remembers: objects by kind, namespace and name, their versions, and who watches them."""

from __future__ import annotations

import asyncio
import copy
import json
import re
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

Object = dict[str, Any]
Key = tuple[str, str, str]  # plural, namespace, name

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


class Refusal(Exception):
    """What the API answers instead of doing something."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": code,
        }


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def expired(version: int, oldest: int) -> Refusal:
    return Refusal(410, "Expired", f"too old resource version: {version} ({oldest})")


class Store:
    """All of it belongs to one event loop."""

    def __init__(self) -> None:
        self.objects: dict[Key, Object] = {}
        self.version = 1000
        self.made = 0
        self.history: list[tuple[int, str, str, Object]] = []
        self.oldest = 0
        self.generation = 0
        self._changed = asyncio.Event()

    def forget_history(self) -> None:
        """Do as after a restart of the API server: whoever watches from before must list again."""
        self.version += 1
        self.oldest = self.version
        self.history.clear()

    def get(self, plural: str, namespace: str, name: str, group: str = "") -> Object:
        found = self.objects.get((plural, namespace, name))
        if found is None:
            shown = f"{plural}.{group}" if group else plural
            raise Refusal(404, "NotFound", f'{shown} "{name}" not found')
        return found

    def select(self, plural: str, namespace: str, labels: str = "", fields: str = "") -> list[Object]:
        found = [one for (kind, space, _), one in self.objects.items() if kind == plural and namespace in ("", space)]
        return [one for one in found if matches(one, labels, fields)]

    def owned_by(self, uid: str) -> list[tuple[Key, Object]]:
        return [
            (key, one)
            for key, one in list(self.objects.items())
            if any(ref.get("uid") == uid for ref in one["metadata"].get("ownerReferences", []))
        ]

    async def add(self, plural: str, namespace: str, given: Object, group: str = "") -> Object:
        made = copy.deepcopy(given)
        meta = made.setdefault("metadata", {})
        name = meta.get("name") or ""
        check_name(plural, name, group)
        if (plural, namespace, name) in self.objects:
            shown = f"{plural}.{group}" if group else plural
            raise Refusal(409, "AlreadyExists", f'{shown} "{name}" already exists')
        meta.update({"uid": str(uuid.uuid4()), "creationTimestamp": now(), "generation": 1})
        if namespace:
            meta["namespace"] = namespace
        self.objects[plural, namespace, name] = made
        self.made += 1
        await self._note("ADDED", plural, made)
        return made

    async def touch(self, plural: str, one: Object) -> None:
        await self._note("MODIFIED", plural, one)

    async def drop(self, key: Key) -> None:
        gone = self.objects.pop(key, None)
        if gone is not None:
            await self._note("DELETED", key[0], gone)

    async def _note(self, kind: str, plural: str, one: Object) -> None:
        self.version += 1
        one["metadata"]["resourceVersion"] = str(self.version)
        self.history.append((self.version, kind, plural, copy.deepcopy(one)))
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def watch(self, plural: str, namespace: str, query: dict[str, str]) -> AsyncIterator[bytes]:
        """Yield events as lines of JSON, until the time the client gave is over or history is forgotten."""
        since = int(query.get("resourceVersion") or self.version)
        labels, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
        ends = asyncio.get_running_loop().time() + float(query.get("timeoutSeconds") or 300)
        generation = self.generation
        if since < self.oldest:
            yield _line("ERROR", expired(since, self.oldest).status)
            return
        while generation == self.generation and (left := ends - asyncio.get_running_loop().time()) > 0:
            for version, kind, what, one in [event for event in self.history if event[0] > since]:
                since = version
                space = one["metadata"].get("namespace", "")
                if what == plural and namespace in ("", space) and matches(one, labels, fields):
                    yield _line(kind, one)
            if self.history and self.history[-1][0] > since:
                continue
            try:
                await asyncio.wait_for(self._changed.wait(), min(left, 1.0))
            except TimeoutError:
                if query.get("allowWatchBookmarks") == "true":
                    yield _line("BOOKMARK", {"kind": "", "metadata": {"resourceVersion": str(since)}})

    async def end_watches(self) -> None:
        """End every watch in order, as the API server does now and then."""
        self.generation += 1
        self._tell()


def _line(kind: str, one: Object) -> bytes:
    return json.dumps({"type": kind, "object": one}).encode() + b"\n"


def check_name(plural: str, name: str, group: str) -> None:
    longest = 63 if plural in ("jobs", "namespaces") else 253
    if not name or len(name) > longest or not _NAME.fullmatch(name):
        shown = f"{plural}.{group}" if group else plural
        why = f"must be no more than {longest} characters" if len(name) > longest else "a lowercase RFC 1123 subdomain"
        raise Refusal(422, "Invalid", f'{shown} "{name}" is invalid: metadata.name: Invalid value: "{name}": {why}')


def matches(one: Object, labels: str, fields: str) -> bool:
    has = one["metadata"].get("labels") or {}
    for part in filter(None, labels.split(",")):
        name, equals, value = part.partition("=")
        if not equals and name not in has:
            return False
        if equals and has.get(name) != value.lstrip("="):
            return False
    for part in filter(None, fields.split(",")):
        path, _, value = part.partition("=")
        found: Any = one
        for step in path.split("."):
            found = (found or {}).get(step)
        if str(found) != value:
            return False
    return True


def merge(target: Object, change: Object) -> None:
    """Change an object as a JSON merge patch says."""
    for name, value in change.items():
        if value is None:
            target.pop(name, None)
        elif isinstance(value, dict) and isinstance(target.get(name), dict):
            merge(target[name], value)
        else:
            target[name] = copy.deepcopy(value)
