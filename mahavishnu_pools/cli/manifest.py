"""The command ``manifest``: what would be applied to a cluster, as YAML for ``kubectl apply``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mahavishnu_pools.cli.completion import pool_names
from mahavishnu_pools.cli.kubernetes_options import kubernetes_options
from mahavishnu_pools.cli.session import Session
from mahavishnu_pools.cli.which_stack import settings_in_force

if TYPE_CHECKING:
    from mahavishnu_pools.manager import PoolManager
    from mahavishnu_pools.pools.interface import Pool
    from mahavishnu_pools.schemas.pool import PoolConfig

#: The name of a pool nobody named; rights do not depend on it.
_ANY = "pool"


@click.command()
@click.argument("pool", required=False, shell_complete=pool_names)
@click.option("--rbac", is_flag=True, help="Print the rights that spawning and running it takes.")
@click.option("--account", default="mahavishnu", show_default=True, metavar="NAME", help="With --rbac: who gets them.")
@click.option("--name", "-n", metavar="NAME", help="Name of a pool that is not there yet.")
@click.option("--type", "-t", "pool_type", metavar="TYPE", help="Its type. [default: kubernetes]")
@click.option("--min-workers", "--min", "-m", type=int, metavar="N", help="Workers it is to start with. [default: 1]")
@click.option("--max-workers", "--max", "-w", type=int, metavar="N", help="Workers it may grow to. [default: 10]")
@click.option("--worker-type", metavar="TYPE", help="How its prompts are run.")
@click.option("--region", "-r", metavar="REGION", help="Where it is. [default: default]")
@kubernetes_options
@click.pass_obj
def manifest(session: Session, /, *, pool: str | None, rbac: bool, account: str, **fields: Any) -> None:
    """Print what would be applied to the cluster for a POOL (id or name), or for one described by options, as YAML."""
    given = {name: value for name, value in fields.items() if value not in (None, ())}
    if pool is not None and given:
        option = next(iter(given)).replace("_", "-")
        raise click.UsageError(f"Give either a pool that is there, or the options of one to come; not both ({option}).")
    if pool is None and not rbac and "name" not in given:
        raise click.UsageError("Name a pool that is there, or give --name and what the pool is to be.")
    pool_id, config = (None, _described(given)) if pool is None else _registered(session, pool)
    _print(config, pool_id, account=account if rbac else None)


def _registered(session: Session, pool: str) -> tuple[str, PoolConfig]:
    async def read(manager: PoolManager) -> Pool:
        return await manager.get_pool(pool)

    found = session.run(read)
    return found.pool_id, found.config


def _described(given: dict[str, Any]) -> PoolConfig:
    from mahavishnu_pools.cli.pool_spawn import config_of
    from mahavishnu_pools.schemas.pool import KUBERNETES

    return config_of({"name": _ANY, "pool_type": KUBERNETES, **given}, settings=settings_in_force())


def _yaml(documents: list[dict[str, Any]]) -> str:
    import yaml

    class Plain(yaml.SafeDumper):
        """Writes what stands in two places twice, as people expect it in a manifest."""

        def ignore_aliases(self, data: Any) -> bool:
            """Return that nothing is referred to."""
            return True

    return yaml.dump_all(documents, Dumper=Plain, sort_keys=False, allow_unicode=True)


def _print(config: PoolConfig, pool_id: str | None, *, account: str | None) -> None:
    from mahavishnu_pools.pools.manifests import manifests_of, rbac_of

    if account is not None:
        found = rbac_of(config, account=account)
    else:
        found = manifests_of(config, settings_in_force(), pool_id=pool_id)
        if any(one["kind"] == "Secret" for one in found):
            click.echo("The Secret holds the URL of Redis with its password; keep it out of repositories.", err=True)
    click.echo(_yaml(found), nl=False)
