"""The environment of a task: a pass-list, what the task asks for, and secrets that are read again for each task."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from mahavishnu_pools.schemas.secret_names import looks_secret

from .given import given_variables
from .interface import Refused, RunContext
from .masking import Masker
from .processes import CONTAINER_VARIABLE, TASK_ID_VARIABLE

#: Variables every task gets when the agent has them; a trailing ``*`` matches the rest.
PASSED = (
    "PATH", "HOME", "LANG", "LANGUAGE", "LC_*", "TZ", "TERM", "TMPDIR", "USER", "LOGNAME", "SHELL",
    "PYTHONPATH", "VIRTUAL_ENV",
    "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "MAHAVISHNU_DATA_DIR", "MAHAVISHNU_NAMESPACE",
    "MAHAVISHNU_AGENT_ID", "MAHAVISHNU_LEASE", "MAHAVISHNU_NODE_NAME",
    "MAHAVISHNU_ROOT_TASK_ID", "MAHAVISHNU_TASK_DEPTH", "TRACEPARENT", "TRACESTATE",
)  # fmt: skip

#: Never passed on, whatever asks for it: the password of the stack, and what would hide a task's processes.
_FORBIDDEN = frozenset({"MAHAVISHNU_REDIS_URL", CONTAINER_VARIABLE})


@dataclass(frozen=True, slots=True)
class TaskEnvironment:
    """Variables of a task and the masker for the secret ones among them."""

    variables: Mapping[str, str] = field(repr=False)
    secrets: Mapping[str, str] = field(repr=False)
    masker: Masker


def build_environment(context: RunContext, *, env_pass: Iterable[str] = ()) -> TaskEnvironment:
    """Return the task's environment; ``env_pass`` names what the worker type needs besides the usual.

    Raises:
        Refused: a secret the task names is not in the worker's secrets file, or the file is open to others.
    """
    passed = pass_list(context.env, extra=env_pass)
    secrets = _resolve(context) if context.spec.secrets else {}
    variables = {
        **passed,
        **{name: value for name, value in context.spec.env.items() if name not in _FORBIDDEN},
        **secrets,
        TASK_ID_VARIABLE: context.task_id,
        "MAHAVISHNU_POOL_ID": context.pool_id,
        "MAHAVISHNU_ATTEMPT": str(context.attempt),
        **given_variables(context.got),
    }
    hidden = [value for name, value in variables.items() if looks_secret(name, value)]
    return TaskEnvironment(
        variables, secrets=secrets, masker=Masker([*secrets.values(), *hidden, *_passwords(variables)])
    )


def pass_list(env: Mapping[str, str], *, extra: Iterable[str] = ()) -> dict[str, str]:
    """Return the variables that every task gets, and those that match ``extra``."""
    return matching(env, (*PASSED, *extra))


def matching(env: Mapping[str, str], patterns: Iterable[str]) -> dict[str, str]:
    """Return the variables whose names match; a trailing ``*`` in a pattern matches the rest."""
    wanted = tuple(patterns)
    exact = {pattern for pattern in wanted if not pattern.endswith("*")}
    prefixes = tuple(pattern[:-1] for pattern in wanted if pattern.endswith("*"))
    return {
        name: value
        for name, value in env.items()
        if (name in exact or name.startswith(prefixes)) and name not in _FORBIDDEN
    }


def read_secrets(path: Path) -> dict[str, str]:
    """Return the NAME=VALUE lines of a secrets file; blank lines and lines that begin with # do not count.

    Raises:
        Refused: it cannot be read, or others than its owner can read it.
    """
    try:
        with path.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise Refused(f"secrets: {path} cannot be read ({type(exc).__name__}). Create it with mode 0600.") from exc
    if stat.S_IMODE(mode) & 0o077:
        raise Refused(f"secrets: {path} can be read by others. Protect it with: chmod 600 {path}")
    pairs = (line.partition("=") for line in lines if "=" in line and not line.lstrip().startswith("#"))
    return {name.strip().removeprefix("export "): _unquoted(value.strip()) for name, _, value in pairs}


def _resolve(context: RunContext) -> dict[str, str]:
    file = context.services.get("secrets_file") or context.env.get("MAHAVISHNU_SECRETS_FILE")
    if file is None:
        raise Refused(f"secrets: {context.spec.secrets[0]!r} is asked for, but this worker has no secrets.env file.")
    known = read_secrets(Path(file))
    missing = [name for name in context.spec.secrets if name not in known]
    if missing:
        raise Refused(f"secrets: {', '.join(missing)} is not in {file} on this worker. Add a line NAME=VALUE there.")
    return {name: known[name] for name in context.spec.secrets if name not in _FORBIDDEN}


def _unquoted(value: str) -> str:
    quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted else value


def _passwords(variables: Mapping[str, str]) -> list[str]:
    found: list[str] = []
    for value in variables.values():
        if "://" not in value or "@" not in value:
            continue
        try:
            password = urlsplit(value).password
        except ValueError:
            continue
        if password:
            found.append(password)
    return found
