"""Pool type ``mahavishnu-remote``: a bridge worker group that delegates its tasks to another instance over MCP."""

from __future__ import annotations

from typing import Any

from mahavishnu_pools import errors
from mahavishnu_pools.pools.interface import PoolType
from mahavishnu_pools.pools.mahavishnu import MahavishnuPool
from mahavishnu_pools.pools.session_buddy import check_endpoint
from mahavishnu_pools.schemas.pool import REMOTE as NAME
from mahavishnu_pools.schemas.pool import PoolConfig

#: What ``extra_config`` may hold as text: which secret or variable of the node is the token, a file with the
#: certificates that vouch for the server, and the pool over there.
TEXTS = ("token_secret", "token_env", "ca_file", "remote_pool")

#: Workers one bridge may have: each keeps a call open.
MOST_WORKERS = 200


class RemotePool(MahavishnuPool):
    """A handle of a pool of this type; its workers are tasks that may be over there at the same time."""


def _check(config: PoolConfig) -> None:
    if config.endpoint is None:
        remedy = "Give the address of its server, such as https://host:8680/mcp."
        raise errors.InvalidField.of("endpoint", f"is missing; a {NAME} pool needs another instance", remedy)
    check_endpoint(config.endpoint, example="https://host:8680/mcp")
    if config.max_workers > MOST_WORKERS:
        raise errors.InvalidField.of(
            "max_workers", f"is {config.max_workers}, more than {MOST_WORKERS}", "Spawn more pools of this kind."
        )
    if config.replicas != 1:
        raise errors.InvalidField.of(
            "replicas", f"is {config.replicas}, but one node bridges to the instance", "Leave it out."
        )
    if config.worker_type is not None:
        raise errors.InvalidField.of(
            "worker_type", "is the other instance's affair", "Leave it out, or name it in the task."
        )
    for name, value in config.extra_config.items():
        _check_option(name, value)
    _check_together(config.extra_config)


def _check_option(name: str, value: Any) -> None:
    if name in TEXTS:
        usable, form = isinstance(value, str) and bool(value), "a text"
    elif name == "remote_tags":
        usable = isinstance(value, (list, tuple)) and all(isinstance(one, str) and one for one in value)
        form = "a list of texts"
    elif name == "patience":
        usable = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 7 * 86400
        form = "a number of seconds, at most 7 days"
    else:
        known = ", ".join((*TEXTS, "remote_tags", "patience"))
        raise errors.InvalidField.of(
            f"extra_config: {name}", "is nothing that this pool type uses", f"It takes {known}."
        )
    if not usable:
        raise errors.InvalidField.of(f"extra_config: {name}", "cannot be used", f"It is {form}.")


def _check_together(given: dict[str, Any]) -> None:
    for one, other in (("token_secret", "token_env"), ("remote_pool", "remote_tags")):
        if given.get(one) and given.get(other):
            raise errors.InvalidField.of(f"extra_config: {one}", f"is given beside {other}", "Give one of them.")


REMOTE = PoolType(NAME, check=_check, handle=RemotePool)
