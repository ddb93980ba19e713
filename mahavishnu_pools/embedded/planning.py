"""Turn settings into the orders of a supervisor."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import Enum
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from mahavishnu_pools.embedded import roots, valkey
from mahavishnu_pools.embedded.choosing import choose
from mahavishnu_pools.embedded.data_dir import DataDir
from mahavishnu_pools.embedded.parts import PARTS, Part, StackSpec, resolved
from mahavishnu_pools.embedded.server_binary import find_server
from mahavishnu_pools.embedded.state import read_state
from mahavishnu_pools.redis_url import check_url
from mahavishnu_pools.settings import Settings, settings_file


def plan(settings: Settings, *, parts: Sequence[Part] = PARTS, allowed: Sequence[Path] | None = None) -> StackSpec:
    """Return the supervisor's orders for these settings; ``allowed`` is where tasks may work (None: as ``roots`` says).

    Raises:
        StackPartFailed: there is no server program that can be used, or a port is in use.
        InvalidConfig: the configured Redis URL has no form that can be read; settings contradict each other.
        Unavailable: a part that must be there needs packages that are not installed.
    """
    if allowed is None:
        allowed = roots.choose(settings).allowed
    data = DataDir.at(settings.data_dir)
    chosen, absent = choose(parts, settings, earlier=read_state(data.root))
    own_url = check_url(settings.redis_url.get_secret_value()) if settings.redis_url is not None else None
    server = find_server().path if own_url is None else None
    return StackSpec(
        data_dir=data.root,
        parts=resolved(chosen, server=server, config=valkey.config_file(data.db)),
        env=_environment(settings, data, allowed),
        redis_url=own_url,
        redis_port=settings.redis_port,
        strict=settings.durability == "strict",
        drain_seconds=settings.drain_timeout,
        settings=digests(settings, allowed),
        absent=absent,
    )


def digests(settings: Settings, allowed: Sequence[Path]) -> dict[str, str]:
    """Return a digest of every setting's value in force, by name; which Redis and which directory is not among them."""
    values = {name: getattr(settings, name) for name in Settings.model_fields if name not in ("redis_url", "data_dir")}
    values["allowed_roots"] = sorted(map(_plain, allowed))
    return {name: sha256(_as_text(value).encode()).hexdigest()[:16] for name, value in values.items()}


def differing(settings: Settings, stack: Mapping[str, str], *, where: roots.Where = roots.Where.ALSO_HERE) -> list[str]:
    """Return the settings with other values than a stack has; ``stack`` are its digests, of which some may lack."""
    allowed = roots.choose(settings, where).allowed
    return sorted(name for name, digest in digests(settings, allowed).items() if stack.get(name, digest) != digest)


def _environment(settings: Settings, data: DataDir, allowed: Sequence[Path]) -> dict[str, str]:
    """Return the settings as environment variables for the parts, which run in the data directory."""
    given = {name: getattr(settings, name) for name in settings.model_fields_set - {"redis_url", "data_dir"}}
    given["allowed_roots"] = tuple(allowed)
    env = {f"MAHAVISHNU_{name.upper()}": _as_text(value) for name, value in given.items() if value is not None}
    env["MAHAVISHNU_DATA_DIR"] = str(data.root)
    if settings_file().is_file():
        env["MAHAVISHNU_SETTINGS_FILE"] = str(settings_file().absolute())
    return env


def _as_text(value: Any) -> str:
    plain = _plain(value)
    return plain if isinstance(plain, str) else json.dumps(plain)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value.expanduser().absolute())
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
