"""The group ``pools`` (also called ``pool``)."""

from __future__ import annotations

import click

from mahavishnu_pools.cli.lazy_group import LazyGroup
from mahavishnu_pools.cli.summaries import POOLS
from mahavishnu_pools.cli.which_stack import with_data_dir

_HERE = "mahavishnu_pools.cli"

COMMANDS = {
    "list": f"{_HERE}.pool_views:list_pools",
    "get": f"{_HERE}.pool_views:get",
    "register": f"{_HERE}.pool_spawn:spawn",
    "spawn": f"{_HERE}.pool_spawn:spawn",
    "execute": f"{_HERE}.execute:execute",
    "route": f"{_HERE}.execute:route",
    "distribute": f"{_HERE}.distribute:distribute",
    "race": f"{_HERE}.contests:race",
    "quorum": f"{_HERE}.contests:quorum",
    "best-of": f"{_HERE}.contests:best_of",
    "submit": f"{_HERE}.submit:submit",
    "task": f"{_HERE}.task:task",
    "tasks": f"{_HERE}.tasks:tasks",
    "logs": f"{_HERE}.task_log:logs",
    "cancel": f"{_HERE}.task:cancel",
    "retry": f"{_HERE}.tasks:retry",
    "approve": f"{_HERE}.approvals:approve",
    "refuse": f"{_HERE}.approvals:refuse",
    "diff": f"{_HERE}.changes:diff",
    "apply": f"{_HERE}.changes:apply",
    "discard": f"{_HERE}.changes:discard",
    "dead": f"{_HERE}.dead:dead",
    "manifest": f"{_HERE}.manifest:manifest",
    "scale": f"{_HERE}.pool_changes:scale",
    "pause": f"{_HERE}.pool_changes:pause",
    "resume": f"{_HERE}.pool_changes:resume",
    "drain": f"{_HERE}.pool_changes:drain",
    "restart": f"{_HERE}.restart:restart",
    "close": f"{_HERE}.pool_changes:close",
    "close-all": f"{_HERE}.pool_changes:close_all",
    "rebalance": f"{_HERE}.rebalance:rebalance",
    "discover": f"{_HERE}.discover:discover",
    "health": f"{_HERE}.pool_views:health",
    "watch": f"{_HERE}.watching.command:watch",
    "monitor": f"{_HERE}.watching.command:watch",
    "events": f"{_HERE}.events:events",
    "limits": f"{_HERE}.limits:limits",
    "usage": f"{_HERE}.limits:usage",
    "stats": f"{_HERE}.pool_views:stats",
    "search-memory": f"{_HERE}.memory:search_memory",
    "sync": f"{_HERE}.memory:sync",
}


@click.group(cls=LazyGroup, lazy=COMMANDS, summaries=POOLS, finish=with_data_dir)
def pools() -> None:
    """Make pools of workers, look at them, and run tasks on them."""
