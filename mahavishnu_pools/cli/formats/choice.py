"""The formats a user can name, and the one that writes each."""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never

from mahavishnu_pools.cli.formats.interface import Format


class FormatName(StrEnum):
    """What ``--format`` takes; ``progress`` is the table with live progress on standard error before it."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"
    PROGRESS = "progress"


def format_of(name: FormatName, *, colour: bool = False, width: int | None = None) -> Format:
    """Return the format of this name; ``colour`` and ``width`` (columns, None: no limit) matter to tables only."""
    match name:
        case FormatName.TABLE | FormatName.PROGRESS:
            from mahavishnu_pools.cli.formats.table import TableFormat

            return TableFormat(colour=colour, width=width)
        case FormatName.JSON:
            from mahavishnu_pools.cli.formats.json import JsonFormat

            return JsonFormat()
        case FormatName.MARKDOWN:
            from mahavishnu_pools.cli.formats.markdown import MarkdownFormat

            return MarkdownFormat()
        case _:
            assert_never(name)
