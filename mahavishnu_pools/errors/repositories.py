"""What is wrong with a git repository, or with the changes of a task in one."""

from __future__ import annotations

from collections.abc import Sequence

from mahavishnu_pools.errors.root import InvalidInput, NotFound, Unavailable
from mahavishnu_pools.wording import short

#: Files that a sentence names.
_NAMED = 10


class GitFailed(Unavailable):
    """Git is missing, too old, did not answer in time, or failed in a way nobody foresaw."""

    code = "git_failed"


class RepositoryRefused(InvalidInput):
    """A directory cannot be used in this way: it is in no repository, in a bare one, in one without commits …"""

    code = "repository_refused"


class ChangesNotFound(NotFound):
    """A task has no changes that could be shown, applied or discarded here."""

    code = "changes_not_found"


class ChangesConflict(InvalidInput):
    """The changes of a task cannot be applied to the checkout, which was left as it is; ``files`` are in the way."""

    code = "changes_conflict"

    @classmethod
    def of(cls, repository: str, problem: str, remedy: str, *, files: Sequence[str] = ()) -> ChangesConflict:
        """Build the error from the checkout, what is wrong, what to do, and the files it is about."""
        listed = ", ".join(short(one) for one in files[:_NAMED])
        more = f" and {len(files) - _NAMED} more" if len(files) > _NAMED else ""
        about = f": {listed}{more}" if files else ""
        text = f"Nothing was applied to {repository}: {problem}{about}. {remedy}"
        return cls(text, repository=repository, files=list(files))
