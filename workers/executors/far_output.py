"""The output of a delegated task on its way into the log here: each character once, whoever wrote those before."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from mahavishnu_pools.store.delegated import Whereabouts
from mahavishnu_pools.store.logs import LogPiece

from .delegated_task import skipped
from .far_contact import Job, Ledger
from .far_instance import Accepted, News

#: Characters of output taken at once after which the writer of logs gets so many seconds, for it keeps no more waiting.
BURST, BURST_PAUSE = 200_000, 0.3

#: Says of output that not all of it is there.
_CUT = "bytes cut:"


class FarOutput:
    """The output of one task. ``where`` it runs is noted, for those who come after this bridge."""

    def __init__(self, job: Job, ledger: Ledger, url: str) -> None:
        self._job, self._ledger, self._url = job, ledger, url
        #: Characters that an earlier bridge has written; None: that cannot be told.
        self._known: int | None = 0

    async def attach(self, accepted: Accepted, instance: str) -> None:
        """Note where the task is, and find where an earlier bridge stopped."""
        task_id = self._job.origin.task_id
        await asyncio.to_thread(self._ledger.note, task_id, Whereabouts(instance, accepted.task_id))
        mark = f"Delegated to {self._url} as task {accepted.task_id}.\n"
        log = () if accepted.new else await asyncio.to_thread(self._ledger.log, task_id)
        written = None if log is None else written_since(log, mark)
        if written == -1:
            self._job.consume("system", mark)
        self._known = None if written is None else max(0, written)

    async def take(self, news: News) -> None:
        """Write down what is new."""
        if self._known is None:
            # It goes on with what comes from now on.
            self._known = 0 if not news.pieces else None
            return
        pieces, self._known = skipped(news.pieces, self._known) if self._known else (list(news.pieces), 0)
        for stream, text in pieces:
            self._job.consume(stream, text)
        if sum(len(text) for _, text in pieces) > BURST:
            await asyncio.sleep(BURST_PAUSE)


def written_since(log: Sequence[LogPiece], mark: str) -> int | None:
    """Return how many characters of output come behind a mark, -1: it is not there, None: that cannot be said."""
    size, cut = -1, False
    for piece in log:
        if piece.stream == "system" and mark in piece.text:
            size, cut = 0, False
        elif piece.after_cut or (piece.stream == "system" and _CUT in piece.text):
            cut = True
        elif size >= 0 and piece.stream != "system":
            size += len(piece.text)
    return None if cut else size
