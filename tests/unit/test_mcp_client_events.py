"""Server-sent events are read the same, however the bytes are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mahavishnu_pools.mcp_client.sse import EventReader

STREAM = 'id: 1\r\ndata: {"a":\r\ndata:  "\u2028\x85"}\r\n\r\n: ping\n\nevent: message\ndata: 2\n\ndata: half'.encode()
EVENTS = ['{"a":\n "\u2028\x85"}'.encode(), b"2"]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_events_are_the_same_however_the_stream_is_cut(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    reader = EventReader()

    events = [event for start, end in itertools.pairwise(places) for event in reader.feed(STREAM[start:end])]

    assert events == EVENTS


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_lines_may_end_in_three_ways(end: str) -> None:
    assert EventReader().feed(f"data: 1{end}{end}data: 2{end}{end}".encode()) == [b"1", b"2"]


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_any_bytes_are_read_without_an_error(chunks: list[bytes]) -> None:
    reader = EventReader()

    assert all(isinstance(event, bytes) for chunk in chunks for event in reader.feed(chunk))
