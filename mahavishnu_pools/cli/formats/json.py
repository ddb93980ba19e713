"""For programs: the document's data, indented."""

from __future__ import annotations

import json
import math
from typing import Any

from mahavishnu_pools.cli.formats.interface import Document


class JsonFormat:
    """Writes the data; the blocks for people are left out."""

    def render(self, document: Document) -> str:
        """Return the data as JSON; numbers that JSON does not have (NaN, infinity) become null."""
        return json_text(document.data)


def json_text(value: Any) -> str:
    """Return JSON as this project prints it."""
    try:
        return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), indent=2, ensure_ascii=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
