"""Which parts beside the core a stack starts, and on which ports: settings go in, parts and reasons come out."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from urllib.parse import urlsplit

from mahavishnu_pools import errors
from mahavishnu_pools.embedded.identity import is_alive
from mahavishnu_pools.embedded.parts import LOOPBACK, PORT, Absent, Choice, Part
from mahavishnu_pools.embedded.state import StackState
from mahavishnu_pools.embedded.valkey import port_is_free
from mahavishnu_pools.embedded.web_ping import speaks_http
from mahavishnu_pools.settings import Settings, user_data_dir

#: How long something on a port may take to show what it is, in seconds.
LOOK_TIMEOUT = 0.5


@dataclass(frozen=True, slots=True)
class _Wish:
    """Where a part is to listen. ``given``: somebody said so. ``elsewhere``: its clients use another server."""

    port: int
    given: bool
    elsewhere: str | None = None


def choose(
    parts: Sequence[Part], settings: Settings, *, earlier: StackState | None
) -> tuple[tuple[Part, ...], tuple[Absent, ...]]:
    """Return the parts to start, and those that are only shown.

    Args:
        parts: all there are.
        settings: who says which are wanted.
        earlier: the stack of the same directory as it is now; its ports are its own.

    Raises:
        Unavailable: a part that must be there needs packages that are not installed.
        StackPartFailed: its port is in use.
        InvalidConfig: it must be there, but its clients are told to use another server.
    """
    chosen = [part if part.choice is None else _choose(part, part.choice, settings, earlier) for part in parts]
    found = tuple(one for one in chosen if isinstance(one, Part))
    return found, tuple(one for one in chosen if isinstance(one, Absent))


def _choose(part: Part, choice: Choice, settings: Settings, earlier: StackState | None) -> Part | Absent | None:
    mode = getattr(settings, choice.mode)
    if mode == "off":
        return None
    wish = _wish(choice, settings)
    if wish.elsewhere is not None:
        if mode == "on":
            raise _contradiction(choice, wish.elsewhere)
        return Absent(part.name, external=True, url=wish.elsewhere, reason=None)
    missing = [name for name in choice.packages if find_spec(name) is None]
    if missing:
        return _without_packages(part, choice, missing, must=mode == "on")
    if wish.port == 0 or port_is_free(wish.port) or _is_own(part, wish.port, earlier):
        return replace(part, port=wish.port)
    return _in_use(part, choice, wish, must=mode == "on")


def _wish(choice: Choice, settings: Settings) -> _Wish:
    # The standard ports are those of the user's own stack; another one beside it takes free ones.
    own = settings.data_dir.expanduser().absolute() == user_data_dir()
    if choice.url is None:
        name = str(choice.port)
        given = name in settings.model_fields_set
        return _Wish(getattr(settings, name) if own or given else 0, given)
    given = choice.url in settings.model_fields_set
    url = getattr(settings, choice.url)
    standard = urlsplit(Settings.model_fields[choice.url].default).port or 0
    if not given:
        return _Wish(standard if own else 0, given=False)
    port = _loopback_port(url)
    if port is None or (getattr(settings, choice.mode) == "auto" and port not in (0, standard)):
        return _Wish(0, given=True, elsewhere=url)
    return _Wish(port, given=True)


def _loopback_port(url: str) -> int | None:
    """Return the port of a URL that a part could serve: plain, on this machine, at ``/mcp``."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return None
    return port if local and parts.scheme == "http" and parts.path.rstrip("/") == "/mcp" else None


def _is_own(part: Part, port: int, earlier: StackState | None) -> bool:
    row = earlier.part(part.name) if earlier is not None else None
    return row is not None and is_alive(row.process) and urlsplit(row.url or "").port == port


def _without_packages(part: Part, choice: Choice, missing: Sequence[str], *, must: bool) -> Absent:
    reason = (
        f"needs packages that are not installed ({', '.join(missing)}). Install them with: "
        f"pip install 'mahavishnu-pools[{choice.extra}]'"
    )
    if must:
        raise errors.Unavailable(f"{choice.mode} is on, but the part {part.name!r} {reason}")
    return Absent(part.name, external=False, url=None, reason=reason)


def _in_use(part: Part, choice: Choice, wish: _Wish, *, must: bool) -> Absent:
    if choice.url is not None and not must and speaks_http(LOOPBACK, wish.port, timeout=LOOK_TIMEOUT):
        url = (part.url or "").replace(PORT, str(wish.port))
        return Absent(part.name, external=True, url=url, reason="answered before the stack was started")
    remedy = (
        f"another one with MAHAVISHNU_{choice.port.upper()} (0: any free one)"
        if choice.port
        else f"another one in MAHAVISHNU_{str(choice.url).upper()} (http://{LOOPBACK}:0/mcp: any free one)"
    )
    reason = f"port {wish.port} is in use by another program. Free it, or name {remedy}"
    if must or wish.given:
        raise errors.StackPartFailed(
            f"The part {part.name!r} of the stack cannot be started: {reason}.", part=part.name, port=wish.port
        )
    return Absent(part.name, external=False, url=None, reason=reason)


def _contradiction(choice: Choice, url: str) -> errors.InvalidConfig:
    return errors.InvalidConfig(
        f"{choice.mode} is on, but {choice.url} names {url}, which no part of the stack can be. "
        f"Leave {choice.url} out, or let {choice.mode} be auto.",
        setting=choice.mode,
    )
