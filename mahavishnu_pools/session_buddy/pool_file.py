"""The file that names a manager's pools, so that they can be made again."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from mahavishnu_pools import errors

#: The file in the directory of a manager.
POOLS_FILE = "pools.json"

#: What a pool may be called.
POOL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")


class PoolFile:
    """Pool ids and their worker types in one directory; without a directory nothing is kept."""

    def __init__(self, directory: Path | None) -> None:
        self._file = None if directory is None else directory / POOLS_FILE

    def read(self) -> dict[str, str | None]:
        """Return what was written last.

        Raises:
            InvalidConfig: the file cannot be read.
        """
        file = self._file
        if file is None or not file.exists():
            return {}
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            if isinstance(found, dict) and all(isinstance(one, str | None) for one in found.values()):
                return {str(pool_id): one for pool_id, one in found.items() if POOL_ID.fullmatch(str(pool_id))}
            raise ValueError("it must map pool ids to worker types or null")
        except (OSError, ValueError) as exc:
            text = (
                f"{file} cannot be read: {exc}. Correct it, or remove it: its pools are then made anew by their users."
            )
            raise errors.InvalidConfig(text, file=str(file)) from exc

    def write(self, pools: Mapping[str, str | None]) -> None:
        """Keep these, whole or not at all.

        Raises:
            Unavailable: the file cannot be written.
        """
        file = self._file
        if file is None:
            return
        try:
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            new = file.with_suffix(".new")
            with new.open("w", encoding="utf-8") as out:
                json.dump(dict(pools), out, indent=1, sort_keys=True)
                out.flush()
                os.fsync(out.fileno())
            os.replace(new, file)
        except OSError as exc:
            raise errors.Unavailable(f"{file} cannot be written: {exc}. See to space and permissions.") from exc
