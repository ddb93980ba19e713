"""How the URL of a Redis server is checked and shown."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from mahavishnu_pools import errors

#: What a URL may begin with.
SCHEMES = ("redis", "rediss", "unix", "sentinel")

#: A password among a URL's options: `?password=`, `&ssl_password=`, `&sentinel_password=`.
_QUERY_PASSWORD = re.compile(r"([?&][a-z_]*password=)[^&#]*", re.IGNORECASE)

#: Options of a URL that the client libraries know; those that begin with `ssl_`, `socket_` or `sentinel_` besides.
_OPTIONS = {
    *("db", "username", "password", "protocol", "client_name", "lib_name", "lib_version"),
    *("max_connections", "timeout", "retry_on_timeout", "health_check_interval"),
}
_OPTION_FAMILIES = ("ssl_", "socket_", "sentinel_")

#: Options that are numbers.
_NUMBERS = {
    **dict.fromkeys(("db", "protocol", "max_connections", "health_check_interval"), r"\d+"),
    **dict.fromkeys(("timeout", "socket_timeout", "socket_connect_timeout"), r"\d+(\.\d*)?|\.\d+"),
}

_REMEDY = (
    "Write MAHAVISHNU_REDIS_URL (redis_url in the settings file) as redis://user:password@host:port/db, "
    "with %2F, %23, %3F, %40, %3A and %5B for / # ? @ : and [ in the password."
)


def check_url(url: str) -> str:
    """Return a Redis URL that has the right form.

    Raises:
        InvalidConfig: it has not; the message does not repeat it, for any part may be the password.
    """
    problem = _problem(url)
    if problem is not None:
        raise errors.InvalidConfig(f"redis_url: {problem}. {_REMEDY}", setting="redis_url")
    return url


def mask_url(url: str) -> str:
    """Return a Redis URL without its passwords."""
    url = _QUERY_PASSWORD.sub(r"\1***", url)
    scheme, separator, rest = url.partition("://")
    credentials, at, place = rest.rpartition("@")
    if not at:
        return url
    user = credentials.partition(":")[0]
    return f"{scheme}{separator}{user}:***@{place}" if ":" in credentials else url


def _problem(url: str) -> str | None:
    if not url.strip():
        return "is empty"
    if re.search(r"[\s\x00-\x1f]", url):
        return "holds white space or control characters"
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in SCHEMES:
        return "must begin with redis://, rediss://, unix:// or sentinel://"
    try:
        parts = urlsplit(url)
    except ValueError:  # its text may quote the password
        return "has no host and port that can be read"
    return _place_problem(parts) or _option_problem(parts.query)


def _place_problem(parts: SplitResult) -> str | None:
    if parts.scheme == "unix":
        return None if parts.path.strip("/") else "names no socket file after unix://"
    database = parts.path.strip("/")
    if parts.scheme == "sentinel":
        database = database.partition("/")[2]
    if not all(_is_host(place) for place in parts.netloc.rpartition("@")[2].split(",")):
        return "has no host and port (0 to 65535) that can be read"
    if not re.fullmatch(r"\d*", unquote(database)):
        return "names a database that is no number"
    return None


def _is_host(place: str) -> bool:
    try:
        parts = urlsplit(f"//{place}")
        return parts.port is None or parts.port >= 0
    except ValueError:
        return False


def _option_problem(query: str) -> str | None:
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _OPTIONS and not name.startswith(_OPTION_FAMILIES):
            return "has an unknown option after '?'"
        if not re.fullmatch(_NUMBERS.get(name, ".*"), value):
            return f"has an option '{name}' that is no number"
    return None
