"""What a server's refusals mean, and after which errors a call may have been carried out all the same."""

from __future__ import annotations

import pytest
from redis import exceptions as known

from mahavishnu_pools import errors
from mahavishnu_pools.store.server import is_lost, maybe_done, translate

URL = "redis://:secret@127.0.0.1:1/0"

#: As servers say it, from a command and from a script.
APPENDING = "MISCONF Errors writing to the AOF file: No space left on device"
IN_A_SCRIPT = f"{APPENDING} script: 5f2e, on @user_script:12."
SAVING = "MISCONF Valkey is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands …"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (APPENDING, "No space left on device"),
        (IN_A_SCRIPT, "No space left on device"),
        (SAVING, "its last snapshot failed"),
    ],
)
def test_a_disk_that_cannot_be_written_is_told_with_reason_place_and_remedy(said: str, reason: str) -> None:
    exc = known.ResponseError(said)

    error = translate(exc, url=URL, directory="/data/redis")

    assert isinstance(error, errors.RedisDiskFull)
    assert error.message == (
        f"Redis at redis://:***@127.0.0.1:1/0 cannot write to its disk and refuses every change: {reason}. "
        "Make room in /data/redis, or look into its log; it goes on by itself when it can write again."
    )
    assert error.details() == {"url": "redis://:***@127.0.0.1:1/0", "directory": "/data/redis"}
    assert not is_lost(exc)


def test_a_server_that_hides_its_directory_is_told_of_without_it() -> None:
    error = translate(known.ResponseError(APPENDING), url=URL)

    assert "Make room in its data directory" in error.message
    assert error.details()["directory"] is None


def test_only_after_a_lost_answer_may_a_call_be_done() -> None:
    lost = [known.ConnectionError("Connection closed by server."), known.TimeoutError("Timeout reading"), OSError()]
    never = [
        known.ResponseError(APPENDING),
        known.OutOfMemoryError("command not allowed"),
        known.ReadOnlyError("You can't write"),
        known.BusyLoadingError("loading"),
        known.AuthenticationError("no"),
    ]

    assert [maybe_done(exc) for exc in lost] == [True] * len(lost)
    assert [maybe_done(exc) for exc in never] == [False] * len(never)


def test_a_connection_that_was_refused_carried_nothing() -> None:
    with pytest.raises(known.ConnectionError) as refused:
        _refused()

    assert not maybe_done(refused.value)


def _refused() -> None:
    try:
        raise ConnectionRefusedError(111, "refused")
    except OSError as exc:
        raise known.ConnectionError(f"connecting failed: {exc}")  # noqa: B904 - as the library raises it
