"""Reads a container's log that comes with times, so that reading can go on where it broke off. Pure.

The API can be asked for what was written since a second. Of that second some has been read before: that much is
skipped, to the byte.
"""

from __future__ import annotations

import re

#: The longest time before a line, in bytes; without a space after so many the line has none.
_LONGEST_TIME = 64

#: A time at the beginning of a line, with the space after it.
_AT_LINE = re.compile(rb"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d) ", re.MULTILINE)

_TIME = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)")


class LogLines:
    """Takes the pieces of a log and gives back what is new, without the times."""

    def __init__(self) -> None:
        self._second = b""
        #: How far that second has been read, as (whole lines, bytes of the next), and where the present answer is.
        self._read = self._at = (0, 0)
        self._head = b""
        self._inside = False

    @property
    def since(self) -> str | None:
        """Return the second to ask from, None: from the beginning."""
        return self._second.decode() or None

    def begin(self) -> None:
        """Be ready for a new answer, that was asked for with ``since``."""
        self._at, self._head, self._inside = (0, 0), b"", False

    def feed(self, data: bytes) -> bytes:
        """Take a piece and return what of it is new."""
        new = bytearray()
        while data:
            if not self._inside:
                whole = data.rfind(b"\n") + 1
                if whole and not self._head and self._at >= self._read:
                    new += self._many(data[:whole])
                    data = data[whole:]
                else:
                    data = self._enter(data)
                continue
            at = data.find(b"\n") + 1
            text, data = (data[:at], data[at:]) if at else (data, b"")
            new += self._unread(text)
        return bytes(new)

    def _many(self, block: bytes) -> bytes:
        """Take whole lines at once, which have not been read before."""
        last = block.rfind(b"\n", 0, -1) + 1
        found = _TIME.match(block, last)
        if found is None:
            self._head = b""
            return b"".join(self._unread(self._enter(line)) for line in block.splitlines(keepends=True))
        second = found[1] + found[2]
        lines = len(re.findall(rb"^" + re.escape(found[1]), block, re.MULTILINE))
        if second == self._second:
            lines += self._at[0]
        self._second, self._at = second, (lines, 0)
        self._read = self._at
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
        elif (second := found[1] + found[2]) != self._second:
            self._second, self._read, self._at = second, (0, 0), (0, 0)
        self._head, self._inside = b"", True
        return rest

    def _unread(self, text: bytes) -> bytes:
        (lines, begin), (known, part) = self._at, self._read
        whole = text.endswith(b"\n")
        self._at = (lines + 1, 0) if whole else (lines, begin + len(text))
        self._read = max(self._read, self._at)
        self._inside = not whole
        if lines < known:
            return b""
        return text[max(0, part - begin) :] if lines == known else text
