"""Reads a container's log that comes with times, so that reading can go on where it broke off. Pure.

The API can be asked for what was written since a second. What of that has been read before is known by the times of the
lines, and where several have the same time by their number: that much is skipped, to the byte.
"""

from __future__ import annotations

import re

#: The longest time before a line, in bytes; without a space after so many the line has none.
_LONGEST_TIME = 64

#: A time at the beginning of a line, with the space after it.
_AT_LINE = re.compile(rb"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d) ", re.MULTILINE)

_TIME = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)")

#: Where something is: the time of a line, its number among those of that time, and a number of bytes of it.
_Place = tuple[bytes, int, int]


class LogLines:
    """Takes the pieces of a log and gives back what is new, without the times."""

    def __init__(self) -> None:
        self._since: bytes | None = None
        self._read: _Place = (b"", 0, 0)  # how far everything is known
        self._at: _Place = (b"", 0, 0)  # where the present answer is
        self._head = b""
        self._inside = self._behind = False

    @property
    def since(self) -> str | None:
        """Return the second to ask from, None: from the beginning."""
        return None if self._since is None else self._since.decode()

    def begin(self) -> None:
        """Be ready for a new answer, that was asked for with ``since``."""
        self._at, self._head, self._inside = (b"", 0, 0), b"", False
        self._behind = self._since is not None

    def feed(self, data: bytes) -> bytes:
        """Take a piece and return what of it is new."""
        new = bytearray()
        while data:
            if not self._inside:
                whole = data.rfind(b"\n") + 1
                found = None if self._behind or self._head or not whole else self._many(data[:whole])
                if found is None:
                    data = self._enter(data)
                else:
                    new += found
                    data = data[whole:]
                continue
            at = data.find(b"\n") + 1
            text, data = (data[:at], data[at:]) if at else (data, b"")
            new += self._unread(text)
        return bytes(new)

    def _many(self, block: bytes) -> bytes | None:
        """Take whole lines at once, which have not been read before; None when they have to be taken one by one."""
        last = _TIME.match(block, block.rfind(b"\n", 0, -1) + 1)
        if last is None:
            return None
        time, again, _ = self._noted(last)
        alike = len(re.findall(rb"^" + re.escape(last[0]) + b" ", block, re.MULTILINE))
        self._read = self._at = (time, again + alike, 0)
        return _AT_LINE.sub(b"", block)

    def _enter(self, data: bytes) -> bytes:
        """Take the time before a line, and return what follows it."""
        self._head += data
        time, space, rest = self._head.partition(b" ")
        if not space and len(self._head) < _LONGEST_TIME and b"\n" not in self._head:
            return b""
        found = _TIME.fullmatch(time) if space else None
        if found is None:
            rest = self._head
        else:
            self._at = self._noted(found)
        self._head, self._inside = b"", True
        return rest

    def _noted(self, found: re.Match[bytes]) -> _Place:
        """Return the place of a line with this time that follows the present place."""
        time = found[1] + (found[2] or b"").ljust(9, b"0")
        if not self._behind:
            self._since = found[1] + found[3]
        return self._at if time == self._at[0] else (time, 0, 0)

    def _unread(self, text: bytes) -> bytes:
        time, number, begin = self._at
        whole = text.endswith(b"\n")
        self._inside = not whole
        self._at = (time, number + 1, 0) if whole else (time, number, begin + len(text))
        known, part = self._read[:2], self._read[2]
        if self._behind and (time, number) < known:
            return b""
        fresh = text[max(0, part - begin) :] if self._behind and (time, number) == known else text
        if self._at >= self._read or not self._behind:
            self._behind, self._read = False, self._at
        return fresh
