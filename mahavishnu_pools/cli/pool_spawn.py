"""The command ``spawn``, also called ``register``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mahavishnu_pools.cli import pool_documents
from mahavishnu_pools.cli.kubernetes_options import kubernetes_fields, kubernetes_options
from mahavishnu_pools.cli.options import format_option
from mahavishnu_pools.cli.output import Output
from mahavishnu_pools.cli.remote_options import remote_fields, remote_options
from mahavishnu_pools.cli.session import Session, options_named

if TYPE_CHECKING:
    from mahavishnu_pools.cli.formats.interface import Document
    from mahavishnu_pools.manager import PoolManager
    from mahavishnu_pools.schemas.pool import PoolConfig
    from mahavishnu_pools.settings import Settings


@click.command("spawn")
@click.option("--name", "-n", required=True, metavar="NAME", help="A name nobody else's pool has.")
@click.option("--type", "-t", "pool_type", metavar="TYPE", help="Pool type. [default: mahavishnu]")
@click.option("--min-workers", "--min", "-m", type=int, metavar="N", help="Workers it starts with. [default: 1]")
@click.option(
    "--max-workers",
    "--max",
    "-w",
    type=int,
    metavar="N",
    help="Workers it may grow to by load, also when only --min is given. [default: 10]",
)
@click.option(
    "--auto-scale/--no-auto-scale", default=None, help="Scale it by load between the two. [default: auto-scale]"
)
@click.option("--worker-type", metavar="TYPE", help="How prompts are run. [default: the first AI program found]")
@click.option("--region", "-r", metavar="REGION", help="Where it is. [default: default]")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Mark it (may be repeated).")
@click.option(
    "--node", "nodes", multiple=True, metavar="NODE", help="Name or tag of nodes it may run on (may be repeated)."
)
@click.option("--replicas", type=int, metavar="N", help="Nodes it runs on at once. [default: 1]")
@click.option("--failover", is_flag=True, help="When nobody can run it, other pools take over its tasks.")
@click.option("--import", "imports", multiple=True, metavar="MODULE", help="Module its workers load (may be repeated).")
@click.option("--celery-app", metavar="MODULE:NAME", help="Celery application its workers load.")
@click.option(
    "--allowed-root",
    "allowed_roots",
    multiple=True,
    metavar="DIR",
    help="Directory its tasks may run in (may be repeated).",
)
@click.option(
    "--isolation",
    type=click.Choice(["none", "lock", "worktree"]),
    help="Its tasks share directories, wait for them, or have git worktrees. [default: lock for AI programs]",
)
@click.option("--rate-limit", metavar="RATE", help="Tasks it may start: 2/s, 30/m or 100/h.")
@click.option("--budget-usd", type=float, metavar="USD", help="It pauses when its AI tasks have spent so much.")
@click.option("--budget-tokens", type=int, metavar="N", help="It pauses when they have read and written so many.")
@click.option(
    "--budget-per",
    type=click.Choice(["day", "life"]),
    help="A budget is of each day (UTC) or of its life. [default: day]",
)
@remote_options
@kubernetes_options
@click.option("--no-wait", is_flag=True, help="Do not wait until its workers are ready.")
@format_option
@click.pass_obj
def spawn(session: Session, /, *, no_wait: bool, output: Output, **fields: Any) -> None:
    """Make a pool and wait until its workers are ready; an equal one that exists is taken."""
    with options_named():  # told without a stack, too
        config = _config(fields)

    async def make(manager: PoolManager) -> Document:
        pool_id = await manager.spawn_pool(config.pool_type, config, wait=not no_wait)
        pool = await manager.pool_info(pool_id)
        grows = fields["max_workers"] is None and _grows_by_load(config)
        return pool_documents.spawned(pool, grows=grows)

    output.show(session.run(make))


def _grows_by_load(config: PoolConfig) -> bool:
    from mahavishnu_pools.pools.factory import on_nodes, pool_type

    kind = config.pool_type
    may = config.auto_scale and config.min_workers < config.max_workers
    return may and on_nodes(kind) and pool_type(kind).scalable


def _config(fields: dict[str, Any]) -> PoolConfig:
    """Return the configuration of what was given; the settings fill in type and limits."""
    from mahavishnu_pools.settings import load_settings

    given = {name: value for name, value in fields.items() if value not in (None, ())}
    if "allowed_roots" in given:
        given["allowed_roots"] = tuple(str(Path(root).expanduser().absolute()) for root in given["allowed_roots"])
    budget = {name: given.pop(f"budget_{name}") for name in ("usd", "tokens", "per") if f"budget_{name}" in given}
    if budget:
        given["budget"] = budget
    return config_of(given, settings=load_settings())


def config_of(given: dict[str, Any], *, settings: Settings) -> PoolConfig:
    """Return the configuration of a pool that options describe; those not given are not among them.

    Raises:
        InvalidField, InvalidConfig: see ``pool_config`` and ``kubernetes_fields``.
    """
    from mahavishnu_pools.pools.spawning import pool_config
    from mahavishnu_pools.schemas.pool import KUBERNETES, REMOTE, SESSION_BUDDY

    fields = dict(given)
    kind = fields.pop("pool_type", None)
    chosen = kind or settings.default_pool_type
    remote = remote_fields(fields, delegates=chosen in (SESSION_BUDDY, REMOTE))
    more = kubernetes_fields(fields, is_kubernetes=chosen == KUBERNETES)
    if remote:
        more["extra_config"] = {**more.get("extra_config", {}), **remote}
    return pool_config(kind, None, {**fields, **more}, settings=settings)
