"""The health check of beat: it looks for the lock that a beat at work holds."""

from __future__ import annotations

import pytest

from mahavishnu_pools.store.client import SyncStore
from workers import beat_probe


@pytest.fixture(autouse=True)
def configured(redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAHAVISHNU_REDIS_URL", redis_url)
    monkeypatch.setenv("MAHAVISHNU_NAMESPACE", namespace)


def test_it_is_healthy_while_a_beat_holds_the_lock(
    redis_url: str, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with SyncStore(redis_url, namespace=namespace) as store:
        store.redis.set(f"{namespace}:mhv:beat::lock", "a beat", px=60_000)

        assert beat_probe.main() == 0

        store.redis.delete(f"{namespace}:mhv:beat::lock")

    assert beat_probe.main() == 1
    assert "No beat holds the lock" in capsys.readouterr().err


def test_it_says_what_keeps_it_from_looking(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAHAVISHNU_REDIS_URL", "redis://:hidden@127.0.0.1:1/0")
    assert beat_probe.main() == 1
    told = capsys.readouterr().err
    assert "does not answer" in told
    assert "hidden" not in told

    monkeypatch.delenv("MAHAVISHNU_REDIS_URL")
    assert beat_probe.main() == 1
    assert "MAHAVISHNU_REDIS_URL is not set" in capsys.readouterr().err
