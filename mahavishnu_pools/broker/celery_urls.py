"""Redis URLs as Celery, kombu and RedBeat want them: each wants the same thing in another form."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from mahavishnu_pools.store.sentinel import SCHEME, parse_sentinels


def celery_url(url: str) -> str:
    """Return the URL for Celery's broker and results.

    kombu refuses ``rediss://`` that does not say whether certificates are checked (here: they are), knows sockets by
    another scheme, and wants each sentinel with the primary's login.
    """
    if url.startswith(SCHEME):
        return _sentinels(url)
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.scheme == "rediss":
        return urlunsplit(parts._replace(query=urlencode({"ssl_cert_reqs": "required", **query})))
    if parts.scheme == "unix":
        return _socket(parts.path, db=query.get("db", "0"), login=login_of(url))
    return url


def login_of(url: str) -> dict[str, str]:
    """Return user and password of a URL, those that it has, under the names redis-py gives them."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    given = {"username": parts.username, "password": parts.password}
    found = {name: unquote(value) for name, value in given.items() if value}
    return found | {name: query[name] for name in given if name in query}


def without_login(url: str) -> str:
    """Return a URL without user and password."""
    parts = urlsplit(url)
    pairs = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] not in ("username", "password")]
    query = f"?{urlencode(pairs)}" if pairs else ""
    # urlunsplit would leave the slashes of unix:// out.
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}{query}"


def redbeat_connection(url: str) -> tuple[str, dict[str, Any]]:
    """Return URL and options for RedBeat; the login is among the options, which Celery's reports do not show."""
    if not url.startswith(SCHEME):
        return without_login(url), login_of(url)
    found = parse_sentinels(url)
    named = {"sentinels": list(found.hosts), "service_name": found.service, "sentinel_kwargs": found.login}
    return "redis-sentinel://", {**named, **found.options}


def _sentinels(url: str) -> str:
    found = parse_sentinels(url)
    login = ""
    if found.password:
        login = f"{quote(found.username or '', safe='')}:{quote(found.password, safe='')}@"
    return ";".join(f"sentinel://{login}{host}:{port}/{found.db}" for host, port in found.hosts)


def _socket(path: str, *, db: str, login: dict[str, str]) -> str:
    user = ""
    if login:
        user = f"{quote(login.get('username', ''), safe='')}:{quote(login.get('password', ''), safe='')}@"
    return f"redis+socket://{user}{path}?{urlencode({'virtual_host': db})}"
