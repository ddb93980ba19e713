"""Finds pools that could be: in an ecosystem file, in repositories, at servers that answer, in Kubernetes contexts."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mahavishnu_pools import errors
from mahavishnu_pools.mcp_client.client import McpClient
from mahavishnu_pools.pools.spawning import pool_config
from mahavishnu_pools.schemas.pool import KUBERNETES, SESSION_BUDDY, PoolConfig
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.wording import did_you_mean, short
from mahavishnu_pools.yaml_file import read_yaml

#: Where the ecosystem file is looked for, below the current directory.
FILES = (Path("ecosystem.yaml"), Path("settings/ecosystem.yaml"))

#: Keys of an ecosystem file.
KEYS = ("pools", "repositories", "servers", "kubernetes")

#: Seconds a server may take to say that it is there.
PATIENCE = 3.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pool that could be. ``problem`` says why it cannot (None: it can); then ``config`` may be None."""

    name: str
    pool_type: str
    source: str
    config: PoolConfig | None = None
    problem: str | None = None


def ecosystem_file(given: Path | None) -> Path | None:
    """Return the ecosystem file: the given one, else the first that exists, else None.

    Raises:
        InvalidField: the given one does not exist.
    """
    if given is not None:
        if not given.is_file():
            raise errors.InvalidField.of("file", f"there is no file {given}", "Name one that exists.")
        return given
    return next((path for path in FILES if path.is_file()), None)


async def discover(settings: Settings, *, ecosystem: Path | None, here: Path) -> list[Candidate]:
    """Look everywhere and return what is found, each name once; ``here`` is a repository too.

    Raises:
        InvalidConfig: the ecosystem file cannot be read; the message names the place.
    """
    content = {} if ecosystem is None else _content(ecosystem)
    base = here if ecosystem is None else here / ecosystem.parent
    repositories = [here, *(_path(entry, base) for entry in content.get("repositories", ()))]
    servers = [settings.session_buddy_pool_url, *(_url(entry) for entry in content.get("servers", ()))]
    found = [
        *(_from_entry(entry, settings, str(ecosystem)) for entry in content.get("pools", ())),
        *(one for path in dict.fromkeys(repositories) for one in _in_repository(path, settings)),
        *[await _at_server(url, settings) for url in dict.fromkeys(servers)],
        *_in_kubernetes(settings, content.get("kubernetes", ()), str(ecosystem)),
    ]
    return list({one.name: one for one in reversed(found)}.values())[::-1]


def _content(path: Path) -> Mapping[str, Any]:
    content = read_yaml(path) or {}
    if not isinstance(content, dict):
        raise errors.InvalidConfig(f"{path} must hold {', '.join(KEYS)}, as 'name: list' lines.", file=str(path))
    for key, value in content.items():
        if key not in KEYS:
            hint = did_you_mean(key, KEYS)
            text = f"{path}: unknown key {short(key)}. {hint}The keys are: {', '.join(KEYS)}."
            raise errors.InvalidConfig(text, file=str(path))
        if not isinstance(value, list):
            raise errors.InvalidConfig(f"{path}: {key} must be a list.", file=str(path))
    return content


def _path(entry: Any, base: Path) -> Path:
    text = entry.get("path") if isinstance(entry, dict) else entry
    if not isinstance(text, str):
        raise errors.InvalidConfig(f"repositories: {short(entry)} has no path. Write '- path: ~/projects/api'.")
    return base / Path(text).expanduser()


def _url(entry: Any) -> str:
    text = entry.get("url") if isinstance(entry, dict) else entry
    if not isinstance(text, str):
        raise errors.InvalidConfig(f"servers: {short(entry)} has no url. Write '- url: http://host:8678/mcp'.")
    return text


def _from_entry(entry: Any, settings: Settings, source: str) -> Candidate:
    """Return the pool an entry describes with the fields of a pool; ``type`` is ``pool_type``."""
    if not isinstance(entry, dict) or not all(isinstance(key, str) for key in entry):
        return Candidate(short(entry), "–", source, problem="it has no fields such as name")
    fields = dict(entry)
    kind = fields.pop("type", None) or fields.pop("pool_type", None) or settings.default_pool_type
    name = str(fields.get("name", "–"))
    try:
        config = pool_config(str(kind), None, fields, settings=settings)
    except errors.MahavishnuError as exc:
        return Candidate(name, str(kind), source, problem=exc.message)
    return Candidate(name, config.pool_type, source, config)


def _in_repository(path: Path, settings: Settings) -> Iterator[Candidate]:
    """Yield the pools under ``[tool.mahavishnu.pools]``; their tasks may run in the repository unless they say more."""
    file = path / "pyproject.toml"
    if not path.is_dir():
        yield Candidate(path.name, "–", str(path), problem="there is no such directory")
    if not file.is_file():
        return
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        yield Candidate(path.name, "–", str(file), problem=f"it cannot be read ({exc})")
        return
    tool = content.get("tool", {}).get("mahavishnu", {})
    tables = tool.get("pools", {}) if isinstance(tool, dict) else {}
    for name, fields in tables.items() if isinstance(tables, dict) else ():
        entry = (
            {"name": name, "allowed_roots": [str(path.absolute())], **fields} if isinstance(fields, dict) else fields
        )
        yield _from_entry(entry, settings, str(file))


async def _at_server(url: str, settings: Settings) -> Candidate:
    """Return the pool that delegates to a server, with a problem when that does not answer."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", f"session-buddy-{urlsplit(url).netloc.rpartition('@')[2]}").strip("-")
    try:
        config = pool_config(SESSION_BUDDY, None, {"name": name[:63], "endpoint": url}, settings=settings)
        async with McpClient(url, timeout=PATIENCE) as client:
            await client.health()
    except errors.MahavishnuError as exc:
        return Candidate(name, SESSION_BUDDY, url, problem=exc.message)
    return Candidate(config.name, SESSION_BUDDY, url, config)


def _in_kubernetes(settings: Settings, entries: Iterable[Any], source: str) -> Iterator[Candidate]:
    """Yield a pool for each entry, and for each context of the usual files."""
    for entry in entries:
        fields = {"context": entry} if isinstance(entry, str) else entry
        if isinstance(fields, dict):
            fields = {"name": _context_name(str(fields.get("context", "cluster"))), "type": KUBERNETES, **fields}
        yield _from_entry(fields, settings, source)
    files = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    for file in map(Path, files.split(os.pathsep)):
        if file.is_file():
            for context in _contexts(file):
                fields = {"name": _context_name(context), "type": KUBERNETES, "context": context}
                yield _from_entry(fields, settings, str(file))


def _contexts(file: Path) -> list[str]:
    try:
        content = read_yaml(file)
    except errors.InvalidConfig:
        return []
    contexts = content.get("contexts") if isinstance(content, dict) else None
    return [str(one["name"]) for one in contexts or () if isinstance(one, dict) and "name" in one]


def _context_name(context: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", f"kubernetes-{context}")[:63].strip("-.")
