"""EventCollector: notes events of programs in the journal beside those of pools and tasks, and reads it."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Self

from mahavishnu_pools import errors
from mahavishnu_pools.bootstrap import require_redis_url, with_url
from mahavishnu_pools.pools.journal import EventFilter, coming, newest
from mahavishnu_pools.schemas.event import Event
from mahavishnu_pools.settings import Settings, load_settings
from mahavishnu_pools.store.client import AsyncStore
from mahavishnu_pools.store.events import note_event

#: Bytes that the details of an event may have as JSON: the journal is no store for results.
DETAILS_MOST = 8192

_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}")
_ID = re.compile(r"[\x21-\x7e]{1,200}")


class EventCollector:
    """A client of the journal. Connects at first use to the configured Redis, else to the running local stack.

    ``async with`` or ``close`` ends its connections. The journal keeps the last 100,000 events of tasks, 10,000 of
    pools and nodes, and 10,000 that programs told; it survives restarts like all else in Redis.
    """

    def __init__(self, *, settings: Settings | None = None, redis_url: str | None = None) -> None:
        self._settings = with_url(settings or load_settings(), redis_url)
        self._store: AsyncStore | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connections."""
        store, self._store = self._store, None
        if store is not None:
            await store.close()

    async def collect_event(self, event: Mapping[str, Any]) -> str:
        """Note an event and return its id. ``type`` says what it is; ``pool_id`` and ``task_id`` what it is about.

        All else are its details: JSON, at most 8 KiB.

        Raises:
            InvalidField: it has no type, or something in it cannot be kept.
            StackNotRunning: no Redis is configured and no local stack is running.
            RedisUnavailable: it does not answer.
        """
        rest = dict(event)
        kind = _text(rest, "type", _TYPE, "letters, digits and _.:-, at most 100")
        if not kind:
            raise errors.InvalidField.of("type", "is missing", 'Say what happened, like "pool_task_completed".')
        about = {name: _text(rest, name, _ID, "an id") for name in ("pool_id", "task_id")}
        _check_details(rest)
        return await self._opened().run(note_event(kind, rest, **about))

    async def events(
        self, *, pool: str | None = None, types: Sequence[str] = (), since: datetime | None = None, limit: int = 50
    ) -> list[Event]:
        """Return the newest events, at most ``limit``, the oldest first.

        ``pool`` is an id or a name, ``types`` are patterns (``task_*``), ``since`` an aware time.
        """
        return await newest(self._opened(), EventFilter(pool, tuple(types)), since=since, limit=limit)

    async def follow(self, *, pool: str | None = None, types: Sequence[str] = ()) -> AsyncIterator[Event]:
        """Yield events from now on, until the caller stops."""
        async for event in coming(self._opened(), EventFilter(pool, tuple(types))):
            yield event

    def _opened(self) -> AsyncStore:
        if self._store is None:
            self._store = AsyncStore.from_settings(self._settings, require_redis_url(self._settings))
        return self._store


def _text(event: dict[str, Any], name: str, pattern: re.Pattern[str], rule: str) -> str:
    value = event.pop(name, None)
    if value is None:
        return ""
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise errors.InvalidField.of(name, f"is {value!r}", f"It must be {rule}.")
    return value


def _check_details(details: Mapping[str, Any]) -> None:
    try:
        size = len(json.dumps(details, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as exc:
        raise errors.InvalidField.of("event", f"is no JSON ({exc})", "Use texts, numbers, lists and dicts.") from exc
    if size > DETAILS_MOST:
        raise errors.InvalidField.of("event", f"has {size} bytes of details", f"Keep it under {DETAILS_MOST}.")
