"""Keeps the beginning and the end of an output that may be endless, and says clearly what was cut."""

from __future__ import annotations

#: Room kept for the mark itself, so that a cut text with its mark stays inside the limit.
_MARK_ROOM = 64

#: A text line longer than this is dropped by LineSplitter (bytes): no event of an AI program is that long.
MAX_LINE_BYTES = 16 * 1024 * 1024


def cut_mark(missing: int) -> str:
    """Return the line that stands where ``missing`` bytes were left out."""
    return f"\n… [{missing} bytes cut] …\n"


class HeadTail:
    """A bounded buffer: the first and the last bytes of what was written, half of ``limit`` bytes each."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._head_room = max(0, limit - _MARK_ROOM) // 2
        self._tail_room = max(1, limit - _MARK_ROOM - self._head_room)
        self._data = bytearray()
        self._tail: bytearray | None = None
        self.written = 0

    def write(self, data: bytes) -> None:
        """Take the next piece."""
        self.written += len(data)
        if self._tail is None:
            self._data += data
            if len(self._data) <= self._limit:
                return
            data = bytes(self._data[self._head_room :])
            del self._data[self._head_room :]
            self._tail = bytearray()
        self._tail += data
        if len(self._tail) > 2 * self._tail_room:
            del self._tail[: -self._tail_room]

    @property
    def complete(self) -> bool:
        """Tell whether nothing had to be left out."""
        return self._tail is None

    def content(self) -> bytes:
        """Return what was written; only meaningful while ``complete``."""
        return bytes(self._data)

    def text(self) -> str:
        """Return the text, with the mark where bytes were left out; what is no UTF-8 shows as U+FFFD."""
        if self._tail is None:
            return cut_text(self._data.decode("utf-8", "replace"), limit=self._limit)
        head, tail = bytes(self._data), bytes(self._tail[-self._tail_room :])
        head, tail = _whole_end(head), _whole_start(tail)
        missing = self.written - len(head) - len(tail)
        text = head.decode("utf-8", "replace") + cut_mark(missing) + tail.decode("utf-8", "replace")
        return text if len(text.encode()) <= self._limit else _shrink(text, limit=self._limit)

    def tail_text(self, size: int) -> str:
        """Return at most the last ``size`` bytes as text."""
        source = self._data if self._tail is None else self._tail
        return _whole_start(bytes(source[-size:])).decode("utf-8", "replace")


def cut_text(text: str, *, limit: int) -> str:
    """Return the text, or its beginning and end with the mark between, in at most ``limit`` UTF-8 bytes."""
    # A lone surrogate, which JSON text can hold, could not be written anywhere later.
    data = text.encode("utf-8", "replace")
    if len(data) <= limit:
        return data.decode("utf-8")
    buffer = HeadTail(limit)
    buffer.write(data)
    return buffer.text()


def _shrink(text: str, *, limit: int) -> str:
    """Binary data grows when it is shown as text (one byte becomes three), so both halves are cut once more."""
    head, mark, tail = text.partition("\n… [")
    room = max(0, limit - _MARK_ROOM) // 2
    head = _whole_end(head.encode()[:room]).decode("utf-8", "replace")
    number, _, rest = tail.partition("]")
    end, room = rest.removeprefix(" …\n").encode(), max(1, room)
    return head + mark + number + "] …\n" + _whole_start(end[-room:]).decode("utf-8", "replace")


def _whole_end(data: bytes) -> bytes:
    """Drop an incomplete character at the end."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        needed = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return data[:-back] if needed > back else data
    return data


def _whole_start(data: bytes) -> bytes:
    """Drop the rest of a character at the start."""
    skip = 0
    while skip < min(3, len(data)) and data[skip] & 0xC0 == 0x80:
        skip += 1
    return data[skip:]


class LineSplitter:
    """Makes whole lines of pieces; a line over MAX_LINE_BYTES is dropped."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._skipping = False

    def feed(self, data: bytes) -> list[str]:
        """Take the next piece and return the lines that are complete now, without their ends."""
        *whole, rest = data.split(b"\n")
        lines: list[str] = []
        for part in whole:
            self._add(part)
            if not self._skipping:
                lines.append(self._rest.decode("utf-8", "replace"))
            self._rest.clear()
            self._skipping = False
        self._add(rest)
        return lines

    def close(self) -> list[str]:
        """Return the last line when it had no end."""
        lines = [self._rest.decode("utf-8", "replace")] if self._rest and not self._skipping else []
        self._rest.clear()
        return lines

    def _add(self, part: bytes) -> None:
        if self._skipping:
            return
        self._rest += part
        if len(self._rest) > MAX_LINE_BYTES:
            self._skipping = True
            self._rest.clear()
