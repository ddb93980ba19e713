"""What changed between two looks, so that a page is told no more than that. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: The lists whose rows are compared one by one, and what tells two rows apart.
TABLES = {
    "pools": "pool_id",
    "groups": "group",
    "nodes": "name",
    "events": "event_id",
    "running": "task_id",
    "awaiting": "task_id",
    "waiting": "task_id",
    "ended": "task_id",
}

#: This is another at every look and alone is no change.
CLOCK = "at"


def changes(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what turns a view (JSON) into the next one; None: nothing changed.

    ``set`` has fields, ``rows`` new and changed rows by list, ``gone`` the keys of rows that left. With ``before=None``
    it is all of it, and says so (``full``).
    """
    known = before or {}
    fields = {
        name: value
        for name, value in after.items()
        if name != CLOCK and name not in TABLES and (name not in known or known[name] != value)
    }
    rows: dict[str, list[Any]] = {}
    gone: dict[str, list[str]] = {}
    for name in TABLES.keys() & after.keys():
        new, left = _compared(known.get(name, ()), after[name], TABLES[name])
        if new:
            rows[name] = new
        if left:
            gone[name] = left
    if before is not None and not (fields or rows or gone):
        return None
    return {"full": before is None, CLOCK: after.get(CLOCK), "set": fields, "rows": rows, "gone": gone}


def _compared(before: Any, after: Any, key: str) -> tuple[list[Any], list[str]]:
    known = {row[key]: row for row in before}
    new = [row for row in after if known.get(row[key]) != row]
    stay = {row[key] for row in after}
    return new, [one for one in known if one not in stay]
