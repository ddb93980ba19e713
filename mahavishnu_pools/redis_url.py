"""How the URL of a Redis server is shown."""

from __future__ import annotations

import re

#: A password among a URL's options: `?password=`, `&ssl_password=`, `&sentinel_password=`.
_QUERY_PASSWORD = re.compile(r"([?&][a-z_]*password=)[^&#]*", re.IGNORECASE)


def mask_url(url: str) -> str:
    """Return a Redis URL without its passwords."""
    url = _QUERY_PASSWORD.sub(r"\1***", url)
    scheme, separator, rest = url.partition("://")
    credentials, at, place = rest.rpartition("@")
    if not at:
        return url
    user = credentials.partition(":")[0]
    return f"{scheme}{separator}{user}:***@{place}" if ":" in credentials else url
