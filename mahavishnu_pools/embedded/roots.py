"""Where tasks of a stack may work without ``allowed_roots``: below the directories its ``up``s were called in.

They are kept in the data directory, because pools, schedules and waiting tasks outlive the stack, and theirs should go
on to be allowed. Only its user can write there. Whoever else makes a directory anew where a remembered one was gains
nothing by it: one that has another owner, or has become a link, counts no longer.
"""

from __future__ import annotations

import enum
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mahavishnu_pools.embedded.data_dir import DataDir, write_private

if TYPE_CHECKING:
    from mahavishnu_pools.settings import Settings

logger = logging.getLogger(__name__)

#: So many directories are remembered; of more the oldest are forgotten.
MOST = 100

#: So many directories are named in a sentence.
NAMED = 5


@dataclass(frozen=True, slots=True)
class Root:
    """A directory, without links, that ``up`` was called in, and its owner then."""

    path: Path
    uid: int

    @classmethod
    def at(cls, path: Path) -> Root:
        """Return a directory as it is now."""
        return cls(path, path.stat().st_uid)

    @property
    def is_there(self) -> bool:
        """Tell whether there is something of this name, whatever it is."""
        return os.path.lexists(self.path)

    @property
    def counts(self) -> bool:
        """Tell whether it is still a directory of that owner, reached without links."""
        try:
            return self.path.is_dir() and self.path.resolve() == self.path and self.path.stat().st_uid == self.uid
        except (OSError, RuntimeError):  # a ring of links, or no longer to be looked at
            return False


class Where(enum.Enum):
    """Which directories a stack that is started allows, where none are configured."""

    #: The current one, and those of earlier starts.
    ALSO_HERE = enum.auto()
    #: The current one alone; the others are forgotten.
    ONLY_HERE = enum.auto()
    #: Those of earlier starts; the current one when there are none.
    AS_BEFORE = enum.auto()


@dataclass(frozen=True, slots=True)
class Roots:
    """Where tasks may work, and which directories are remembered for the next start (none: they are configured)."""

    allowed: tuple[Path, ...]
    kept: tuple[Root, ...] = ()


def remembered(data: DataDir) -> tuple[Root, ...]:
    """Return all directories that are kept, the oldest first, whether they count or not."""
    try:
        with data.roots_file.open(encoding="utf-8") as stream:
            found = os.fstat(stream.fileno())
            if found.st_uid != os.getuid() or found.st_mode & 0o022:
                logger.warning("%s can be written by others and is left alone.", data.roots_file)
                return ()
            return tuple(Root(Path(row["path"]), int(row["uid"])) for row in json.load(stream))
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except (OSError, ValueError, KeyError, TypeError) as exc:
        logger.warning("The directories of earlier starts cannot be read: %s", exc, extra={"action": "remembered"})
        return ()


def choose(settings: Settings, where: Where = Where.ALSO_HERE) -> Roots:
    """Return where tasks of a stack started now may work."""
    if settings.allowed_roots:
        return Roots(settings.allowed_roots)
    known = () if where is Where.ONLY_HERE else remembered(DataDir.at(settings.data_dir))
    counting = tuple(root.path for root in known if root.counts)
    here = Path.cwd()
    if covers(counting, here) or (counting and where is Where.AS_BEFORE):
        return Roots(counting, known)
    others = tuple(root for root in known if root.path != here)
    return Roots((*counting, here), (*others, Root.at(here))[-MOST:])


def covers(roots: Sequence[Path], path: Path) -> bool:
    """Tell whether a path is one of the directories or below one."""
    return any(path.is_relative_to(root) for root in roots)


def remember(data: DataDir, kept: Sequence[Root]) -> None:
    """Keep these directories and no others."""
    rows = [{"path": str(root.path), "uid": root.uid} for root in kept]
    write_private(data.roots_file, json.dumps(rows, indent=1))


def said(settings: Settings) -> str | None:
    """Return what somebody who started a stack here should know of directories elsewhere; None: nothing."""
    if settings.allowed_roots:
        return None
    here = Path.cwd()
    others = [root for root in remembered(DataDir.at(settings.data_dir)) if root.path != here and root.is_there]
    allowed, changed = (_listed([root.path for root in others if root.counts is one]) for one in (True, False))
    forget = "'mahavishnu up --only-here' forgets them, after 'mahavishnu down'."
    told = allowed and f"Tasks may also work where earlier stacks were started: {allowed}. {forget}"
    refused = changed and f"No longer allowed, since another owner or a link is there now: {changed}."
    return "\n".join(filter(None, (told, refused))) or None


def _listed(paths: Sequence[Path]) -> str:
    more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return ", ".join(map(str, paths[:NAMED])) + more
