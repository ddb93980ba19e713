"""A container's log with times, read in pieces that break off anywhere, comes out as it was written."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mahavishnu_pools.kube.log_lines import LogLines

#: Lines and the tenths of a second they were written in.
LINES = st.lists(
    st.tuples(
        st.integers(0, 30), st.sampled_from([b"", b"a", b"two words", b"2026-01-01T00:00:00Z no time", b"\xff\0"])
    ),
    max_size=12,
)


def stamped(lines: list[tuple[int, bytes]], *, since: str | None = None, end: bytes = b"\n") -> bytes:
    """Return what the API answers when it is asked from a second on."""
    shown = [(f"2026-11-21T12:00:{tenths // 10:02d}", tenths % 10, text) for tenths, text in lines]
    if since is not None:
        shown = [one for one in shown if f"{one[0]}Z" >= since]
    return b"".join(f"{second}.{tenth}Z ".encode() + text + end for second, tenth, text in shown)


@given(lines=LINES, cuts=st.lists(st.tuples(st.integers(0, 600), st.integers(1, 40)), max_size=4))
def test_what_breaks_off_anywhere_goes_on_without_a_gap_or_a_repeat(
    lines: list[tuple[int, bytes]], cuts: list[tuple[int, int]]
) -> None:
    lines = sorted(lines, key=lambda one: one[0])
    reader, out = LogLines(), b""

    for at, size in [*cuts, (10**6, 7)]:
        answer = stamped(lines, since=reader.since)[:at]
        reader.begin()
        out += b"".join(reader.feed(answer[place : place + size]) for place in range(0, len(answer), size))

    assert out == b"".join(text + b"\n" for _, text in lines)


def test_a_line_without_an_end_shows_as_it_comes() -> None:
    reader = LogLines()
    reader.begin()

    assert reader.feed(b"2026-11-21T12:00:00.1Z hal") == b"hal"
    assert reader.feed(b"f a line") == b"f a line"
    assert reader.since == "2026-11-21T12:00:00Z"


def test_times_with_a_zone_are_asked_for_with_it() -> None:
    reader = LogLines()
    reader.begin()

    assert reader.feed(b"2026-11-21T12:00:00.1+02:00 x\n2026-11-21T12:00:01.1+02:00 y\n") == b"x\ny\n"
    assert reader.since == "2026-11-21T12:00:01+02:00"


def test_a_line_without_a_time_is_kept() -> None:
    reader = LogLines()
    reader.begin()

    assert reader.feed(b"unable to retrieve container logs for x\n") == b"unable to retrieve container logs for x\n"
