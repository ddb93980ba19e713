"""``flower``: the web page of Celery's own, on the app of our workers."""

from __future__ import annotations

import ipaddress
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mahavishnu_pools import errors
from mahavishnu_pools.cli.stack import data_dir_option

if TYPE_CHECKING:
    from mahavishnu_pools.settings import Settings

#: What is set unless the environment has it: groups come and go, and tasks kept in memory are no archive.
_DEFAULTS = {"FLOWER_PURGE_OFFLINE_WORKERS": "300", "FLOWER_MAX_TASKS": "10000", "FLOWER_INSPECT_TIMEOUT": "1500"}


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address; others than loopback need flower_auth.")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port; 0: a free one (default: the setting flower_port, 5555)."
)
@data_dir_option
def flower(*, host: str, port: int | None, data_dir: Path | None) -> None:
    """Serve Flower, which shows worker groups, queues and tasks, until Ctrl-C.

    With the setting flower_auth (user:password) it asks for that, and its buttons work; without it, it only shows.
    """
    from mahavishnu_pools.bootstrap import find_redis_url
    from mahavishnu_pools.cli.which_stack import not_running
    from mahavishnu_pools.settings import load_settings

    settings = load_settings(**({"data_dir": data_dir} if data_dir else {}))
    _refuse_open_doors(host, settings)
    url = find_redis_url(settings)
    if url is None:
        raise not_running(settings)
    options = (f"--address={host}", f"--port={settings.flower_port if port is None else port}")
    command = (sys.executable, "-P", "-m", "celery", "-A", "mahavishnu_workers.app", "flower", *options)
    os.execve(sys.executable, command, _environment(settings, url))  # noqa: S606 - it becomes that program


def _environment(settings: Settings, redis_url: str) -> dict[str, str]:
    # Not on the command line: everybody can read that.
    own = {"MAHAVISHNU_REDIS_URL": redis_url, "MAHAVISHNU_DATA_DIR": str(settings.data_dir.expanduser().absolute())}
    if settings.flower_auth is not None:
        own["FLOWER_BASIC_AUTH"] = settings.flower_auth.get_secret_value()
    return {**_DEFAULTS, **os.environ, **own}


def _refuse_open_doors(host: str, settings: Settings) -> None:
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    known = settings.flower_auth is not None or "FLOWER_BASIC_AUTH" in os.environ or "FLOWER_AUTH" in os.environ
    if not loopback and not known:
        raise errors.InvalidField.of(
            "host",
            f"{host} can be reached from other machines and nobody has to log in",
            "Set MAHAVISHNU_FLOWER_AUTH=user:password, or listen on 127.0.0.1.",
        )
