"""Server-sent events, read from bytes as they arrive."""

from __future__ import annotations


class EventReader:
    """Cuts a byte stream into events and keeps what is not complete yet.

    Lines end as the standard says (LF, CR or both) and nowhere else: JSON may hold U+2028 and its like in plain sight.
    """

    def __init__(self) -> None:
        self._begun: list[bytes] = []
        self._data: list[bytes] = []
        self._after_return = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the data of the events that this chunk completes."""
        if not chunk:
            return []
        if self._after_return and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        self._after_return = chunk.endswith(b"\r")
        *ended, rest = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        events = []
        for end in ended:
            line = b"".join((*self._begun, end))
            self._begun = []
            events += self._line(line)
        if rest:
            self._begun.append(rest)
        return events

    def _line(self, line: bytes) -> list[bytes]:
        if not line:
            event, self._data = b"\n".join(self._data), []
            return [event] if event else []
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
        return []
