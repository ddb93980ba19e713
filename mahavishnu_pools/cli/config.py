"""The group ``config``: what is configured, and where each value comes from."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from mahavishnu_pools.cli.formats.interface import Block, Column, Document, Note, Table
from mahavishnu_pools.cli.options import format_option
from mahavishnu_pools.cli.output import Output

if TYPE_CHECKING:
    from pathlib import Path

    from mahavishnu_pools.settings import Settings

#: Stands for a secret.
MASKED = "********"


@click.group()
def config() -> None:
    """Look at the configuration."""


@config.command()
@click.argument("names", nargs=-1, metavar="[SETTING]...")
@click.option("--changed", is_flag=True, help="Only those that are not at their default.")
@format_option
def show(*, names: tuple[str, ...], changed: bool, output: Output) -> None:
    """Show every setting, its value and where it comes from; secrets are masked."""
    from mahavishnu_pools import errors
    from mahavishnu_pools.settings import Settings, load_settings, settings_file

    for name in names:
        if name not in Settings.model_fields:
            raise errors.UnknownChoice.of("setting", name, list(Settings.model_fields))
    path = settings_file()
    rows = described(load_settings(), path)
    wanted = [
        row for row in rows if (not names or row["name"] in names) and not (changed and row["source"] == "default")
    ]
    output.show(document(wanted, path))


def described(settings: Settings, path: Path) -> list[dict[str, Any]]:
    """Return name, value and source of each setting."""
    from mahavishnu_pools.yaml_file import read_yaml

    in_file = read_yaml(path) if path.is_file() else None
    known = set(in_file) if isinstance(in_file, dict) else set()
    variables = {name.upper(): name for name, value in os.environ.items() if value}
    found = []
    for name in type(settings).model_fields:
        variable = variables.get(f"MAHAVISHNU_{name.upper()}")
        source = variable or (str(path) if name in known else "default")
        found.append({"name": name, "value": _shown(getattr(settings, name)), "source": source})
    return found


def document(rows: list[dict[str, Any]], path: Path) -> Document:
    """Return the document of ``config show``."""
    data = {"file": str(path) if path.is_file() else None, "settings": rows}
    cells = tuple((row["name"], _text(row["value"]), row["source"]) for row in rows)
    table = Table("Settings", (Column("Setting"), Column("Value"), Column("From")), cells)
    missing = "" if path.is_file() else " (there is none)"
    blocks: tuple[Block, ...] = (*((table,) if rows else ()), Note(f"Settings file: {path}{missing}"))
    return Document(data, blocks)


def _shown(value: Any) -> Any:
    """Return a value as JSON, without what is secret in it."""
    from pydantic import SecretStr

    from mahavishnu_pools.redis_url import mask_url

    if isinstance(value, SecretStr):
        text = value.get_secret_value()
        return mask_url(text) if "://" in text else MASKED
    if isinstance(value, (list, tuple)):
        return [_shown(one) for one in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = str(value)
    return mask_url(text) if "://" in text else text


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return None if value is None else str(value)
