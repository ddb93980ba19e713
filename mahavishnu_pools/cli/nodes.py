"""The commands ``nodes`` and ``agent``: the machines that run worker groups."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mahavishnu_pools.cli.formats.interface import Column, Document, Note, State, Table
from mahavishnu_pools.cli.options import format_option
from mahavishnu_pools.cli.output import Output
from mahavishnu_pools.cli.session import Session
from mahavishnu_pools.cli.which_stack import with_data_dir

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mahavishnu_pools.manager import PoolManager
    from mahavishnu_pools.schemas.pool import PoolInfo
    from mahavishnu_pools.store.pools import NodeInfo

_COLUMNS = (
    Column("Node"),
    Column("Status"),
    Column("Region"),
    Column("Tags"),
    Column("In use"),
    Column("Pools"),
    Column("Worker types"),
    Column("PID", "right"),
)


@with_data_dir
@click.command()
@format_option
@click.pass_obj
def nodes(session: Session, /, *, output: Output) -> None:
    """List the nodes: the machines with an agent, what they have, and the pools they run."""

    async def read(manager: PoolManager) -> tuple[list[NodeInfo], list[PoolInfo]]:
        return await manager.nodes(), await manager.list_pools()

    found, pools = session.run(read)
    output.show(node_list(found, pools))


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--redis-url", metavar="URL", help="The Redis to join (default: MAHAVISHNU_REDIS_URL).")
@click.option("--name", metavar="NAME", help="Name of this node (default: the host's).")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Mark this node, such as gpu (may be repeated).")
@click.option(
    "--resource",
    "resources",
    multiple=True,
    metavar="NAME=AMOUNT",
    help="What tasks may need of it: gpu=2, memory=64GiB (may be repeated; processors, memory and GPUs are found).",
)
@click.option("--region", "-r", metavar="REGION", help="Where this node is. [default: default]")
@click.option("--data-dir", type=click.Path(path_type=Path), help="State of this agent (default: MAHAVISHNU_DATA_DIR).")
@click.argument("more", nargs=-1, type=click.UNPROCESSED, metavar="")
def agent(
    *, redis_url: str | None, name: str | None, region: str | None, more: tuple[str, ...], data_dir: Path | None,
    **lists: tuple[str, ...],
) -> None:  # fmt: skip
    """Run worker groups on this machine for the pools of a Redis, until Ctrl-C or SIGTERM.

    A password in --redis-url is seen by others on this machine; MAHAVISHNU_REDIS_URL is not.
    """
    given = {
        "REDIS_URL": redis_url,
        "NODE_NAME": name,
        "NODE_TAGS": ",".join(lists["tags"]) or None,
        "NODE_RESOURCES": ",".join(lists["resources"]) or None,
        "NODE_REGION": region,
        "DATA_DIR": None if data_dir is None else str(data_dir.absolute()),
    }
    os.environ.update({f"MAHAVISHNU_{key}": value for key, value in given.items() if value is not None})
    _check()
    # The agent is this process from here on: signals and the exit code are its own.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "mahavishnu_workers.agent", *more])  # noqa: S606


def node_list(nodes: Sequence[NodeInfo], pools: Sequence[PoolInfo]) -> Document:
    """Return the document of ``nodes``."""
    runs = {node.name: [pool.name for pool in pools if node.name in pool.nodes] for node in nodes}
    data = [{**node.model_dump(mode="json"), "free": node.free, "pools": runs[node.name]} for node in nodes]
    if not nodes:
        return Document({"nodes": data}, (Note("No node. Start one with: mahavishnu up, or mahavishnu agent"),))
    rows = tuple(
        (
            node.name,
            State("running" if node.alive else "failed"),
            node.region,
            ", ".join(node.tags),
            ", ".join(_in_use(node)),
            ", ".join(runs[node.name]),
            ", ".join(node.programs),
            node.pid,
        )
        for node in nodes
    )
    return Document({"nodes": data}, (Table("Nodes", _COLUMNS, rows),))


def _in_use(node: NodeInfo) -> list[str]:
    from mahavishnu_pools.schemas.needs import shown

    return [
        f"{name} {shown(name, node.in_use.get(name, 0))} of {shown(name, amount)}"
        for name, amount in sorted(node.resources.items())
    ]


def _check() -> None:
    """Refuse what the agent would refuse, in the words of a command."""
    from mahavishnu_pools import errors
    from mahavishnu_pools.redis_url import check_url
    from mahavishnu_pools.settings import load_settings

    settings = load_settings()
    if settings.redis_url is None:
        raise errors.InvalidField.of(
            "--redis-url", "is missing, and MAHAVISHNU_REDIS_URL is not set", "Name the Redis to join."
        )
    _check_resources(settings.node_resources)
    check_url(settings.redis_url.get_secret_value())


def _check_resources(given: tuple[str, ...]) -> None:
    from mahavishnu_pools import errors
    from mahavishnu_pools.schemas.needs import parse_resources

    try:
        parse_resources(given)
    except ValueError as exc:
        raise errors.InvalidField.of("--resource", str(exc), "Write it like --resource gpu=2.") from exc
