"""The tests' own waiting: it must fail when the condition never holds."""

from __future__ import annotations

import pytest

from tests.waiting import eventually, eventually_async


def test_returns_what_was_seen_once_it_is_accepted() -> None:
    seen = iter([1, 2, 3, 4])

    assert eventually(lambda: next(seen), until=lambda value: value == 3) == 3


def test_takes_an_assertion_error_as_not_yet() -> None:
    looks: list[int] = []

    def look() -> bool:
        looks.append(1)
        assert len(looks) == 3
        return True

    assert eventually(look)


def test_fails_after_the_deadline_with_what_was_last_seen() -> None:
    with pytest.raises(AssertionError, match=r"Not so after 0\.05 s; last seen: 'queued'"):
        eventually(lambda: "queued", until=lambda status: status == "running", within=0.05)


def test_lets_other_errors_through() -> None:
    with pytest.raises(ZeroDivisionError):
        eventually(lambda: 1 / 0)


async def test_waits_for_coroutines_too() -> None:
    seen = iter([0, 0, 7])

    async def look() -> int:
        return next(seen)

    assert await eventually_async(look) == 7


async def test_fails_for_coroutines_too() -> None:
    async def look() -> str:
        return "queued"

    with pytest.raises(AssertionError, match="last seen: 'queued'"):
        await eventually_async(look, until=lambda status: status == "running", within=0.05)
