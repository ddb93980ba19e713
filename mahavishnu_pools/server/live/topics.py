"""What pages follow: one reader each, however many follow it, and what is told to them."""

from __future__ import annotations

import asyncio
import json
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from mahavishnu_pools import errors
from mahavishnu_pools.agent_lines import shown
from mahavishnu_pools.schemas.task import TERMINAL_STATUSES, TaskStatus
from mahavishnu_pools.schemas.task_brief import TaskBrief
from mahavishnu_pools.server.live.changes import changes
from mahavishnu_pools.server.live.reading import Reader
from mahavishnu_pools.server.live.views import LogLine
from mahavishnu_pools.store.logs import READ_MOST, START, LogPiece, entry_order

#: Frames that may wait for a page; one that is slower is left.
WAITING_MOST = 200

#: Characters of a task's output that are kept for pages that come later; and about so many go into one frame.
KEPT, FRAME = 512 * 1024, 32 * 1024

#: Reads of a task's output at one look.
READS = 4

Frame = bytes


class Follower:
    """An open page: the frames that wait for it. None in ``frames`` ends it; ``last`` is the entry it had last."""

    def __init__(self, *, last: str = "") -> None:
        self.last = last
        self.frames: asyncio.Queue[Frame | None] = asyncio.Queue()

    def give(self, frames: list[Frame]) -> bool:
        """Give frames; False when too many wait, which ends it."""
        if self.frames.qsize() + len(frames) > WAITING_MOST:
            self.end()
            return False
        for one in frames:
            self.frames.put_nowait(one)
        return True

    def end(self) -> None:
        """End it now: what waits is thrown away."""
        while not self.frames.empty():
            self.frames.get_nowait()
        self.frames.put_nowait(None)


class Topic(ABC):
    """Something to follow. ``pause`` is the least number of seconds between two looks."""

    pause = 1.0

    def __init__(self) -> None:
        self.followers: set[Follower] = set()
        self._problem: Frame | None = None
        self._looked = False

    def join(self, follower: Follower) -> None:
        """Add a page; it gets what is known, of entries those behind its last one (empty: all)."""
        known = self.known(follower.last) if self._looked else []
        follower.give([*known, *([self._problem] if self._problem else [])])
        self.followers.add(follower)

    async def update(self) -> None:
        """Look, and tell the pages what is new.

        Raises:
            MahavishnuError: it cannot be looked; the pages were told why.
        """
        try:
            frames = await self.look()
            # Who came before the first look may know a part already, from a server that was here before.
            self._tell(frames if self._looked else None)
            self._problem, self._looked = None, True
        except errors.MahavishnuError as exc:
            told = frame("problem", {"code": exc.code, "message": exc.message})
            if told != self._problem:
                self._tell([told])
            self._problem = told
            raise

    def _tell(self, frames: list[Frame] | None) -> None:
        """Tell all pages; None: to each what is known and new to it."""
        # A page that was told of a problem learns by any frame that it is over.
        over = [frame("well", {})] if self._problem and not frames else []
        for follower in tuple(self.followers):
            new = self.known(follower.last) if frames is None else frames
            if not follower.give([*over, *new]):
                self.followers.discard(follower)

    @abstractmethod
    async def look(self) -> list[Frame]:
        """Read, and return frames with what is new since the last look."""

    @abstractmethod
    def known(self, last: str) -> list[Frame]:
        """Return frames with all that is known."""


class View(Topic):
    """A view that is read anew at each look."""

    def __init__(self, read: Callable[[], Awaitable[BaseModel]]) -> None:
        super().__init__()
        self._read = read
        self._state: dict[str, Any] | None = None

    async def look(self) -> list[Frame]:
        """Read the view, and return what changed."""
        before, self._state = self._state, (await self._read()).model_dump(mode="json")
        changed = changes(before, self._state)
        return [] if changed is None else [frame("state", changed)]

    def known(self, last: str) -> list[Frame]:
        """Return the view as it is."""
        return [] if self._state is None else [frame("state", changes(None, self._state))]


#: Statuses of tasks that have no outcome yet.
_NOT_ENDED = frozenset(one.value for one in TaskStatus if one not in TERMINAL_STATUSES)


class TaskTopic(View):
    """A task and its output. Of long output the end is kept; the task, which may be long, is read when it changed."""

    pause = 0.5

    #: Seconds between two looks once the task has ended.
    slow = 3.0

    def __init__(self, reader: Reader, task_id: str) -> None:
        super().__init__(lambda: reader.task(task_id))
        self._reader, self._task_id = reader, task_id
        self._brief: TaskBrief | None = None
        self._pieces: deque[LogPiece] = deque()
        self._size, self._after, self._lost = 0, START, False
        self._again = 0.0

    async def look(self) -> list[Frame]:
        """Read the task and its output, and return what is new."""
        # The task first: its output is written before its outcome, so nothing comes behind an outcome seen here.
        brief = await self._reader.brief(self._task_id)
        frames = []
        if brief != self._brief or (self._unsettled() and time.monotonic() >= self._again):
            frames = await super().look()
            self._again = time.monotonic() + self.slow
        self._brief, self.pause = brief, self.slow if brief.finished_at else TaskTopic.pause
        pieces: list[LogPiece] = []
        for _ in range(READS):
            some = await self._reader.log(self._task_id, after=self._after)
            pieces += some
            if some:
                self._after = some[-1].entry
            if len(some) < READ_MOST:
                break
        told = [replace(piece, text=shown(piece.stream, piece.text)) for piece in pieces]
        pieces = [piece for piece in told if piece.text or piece.after_cut]
        self._keep(pieces)
        return frames + _log_frames(pieces)

    def known(self, last: str) -> list[Frame]:
        """Return the task, and its output behind ``last``."""
        seen = entry_order(last) if is_entry(last) else entry_order(START)
        pieces = [piece for piece in self._pieces if entry_order(piece.entry) > seen]
        missing = self._lost and bool(pieces) and pieces[0] is self._pieces[0]
        return super().known(last) + _log_frames(pieces, after_cut=missing)

    def _unsettled(self) -> bool:
        """Tell whether something is shown that others decide, so that the task itself does not tell of it."""
        known = self._state or {}
        contest, around = known.get("contest"), known.get("relatives") or {}
        others = [*around.get("parents", ()), *around.get("children", ())]
        return (
            bool(contest and contest["status"] == "open")
            or bool(known.get("needs") and not known.get("done"))
            or any(one["status"] in _NOT_ENDED for one in others)
        )

    def _keep(self, pieces: list[LogPiece]) -> None:
        self._pieces.extend(pieces)
        self._size += sum(len(piece.text) for piece in pieces)
        while self._size > KEPT and len(self._pieces) > 1:
            self._size -= len(self._pieces.popleft().text)
            self._lost = True


def is_entry(text: str) -> bool:
    """Tell whether this can be the id of an entry of a stream."""
    first, dash, second = text.partition("-")
    return bool(dash) and all(part.isascii() and part.isdigit() and len(part) <= 20 for part in (first, second))


def frame(event: str, data: Any, *, entry: str = "") -> Frame:
    """Return a server-sent event; JSON has no line ends, so it is one line of data."""
    head = f"id: {entry}\n" if entry else ""
    text = json.dumps(data, separators=(",", ":"))
    return f"{head}event: {event}\ndata: {text}\n\n".encode()


def _log_frames(pieces: list[LogPiece], *, after_cut: bool = False) -> list[Frame]:
    """Return pieces as frames of some size; what one stream printed in a row is one line of the frame."""
    frames: list[Frame] = []
    lines: list[LogLine] = []
    size = 0
    for number, piece in enumerate(pieces):
        cut = piece.after_cut or (after_cut and number == 0)
        if lines and not cut and lines[-1].stream == piece.stream:
            lines[-1] = lines[-1].model_copy(update={"text": lines[-1].text + piece.text})
        else:
            lines.append(LogLine(stream=piece.stream, text=piece.text, after_cut=cut))
        size += len(piece.text)
        if size > FRAME or piece is pieces[-1]:
            frames.append(frame("log", [line.model_dump() for line in lines], entry=piece.entry))
            lines, size = [], 0
    return frames
