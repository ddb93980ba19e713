"""What a stack keeps in files: its state, its orders, its logs, its locks."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from pydantic import SecretStr

from mahavishnu_pools import errors
from mahavishnu_pools.embedded import output
from mahavishnu_pools.embedded import state as states
from mahavishnu_pools.embedded.data_dir import DataDir, is_locked, try_lock
from mahavishnu_pools.embedded.identity import ProcessId
from mahavishnu_pools.embedded.parts import CORE, PARTS, REDIS, Ready, StackSpec, resolved
from mahavishnu_pools.embedded.planning import plan
from mahavishnu_pools.embedded.state import PartState, PartStatus, StackState, StateFile, read_state, write_state
from mahavishnu_pools.settings import Settings


def some_state(data_dir: Path) -> StackState:
    return StackState(
        data_dir=data_dir,
        redis_url="redis://:secret@127.0.0.1:7000/0",
        external=False,
        supervisor=ProcessId(11, "5-boot"),
        parts=(
            PartState(REDIS, PartStatus.RUNNING, process=ProcessId(12, "6-boot"), restarts=2, last_error="was ended"),
        ),
    )


def test_the_state_is_read_as_it_was_written_and_is_private(tmp_path: Path) -> None:
    write_state(some_state(tmp_path))

    assert read_state(tmp_path) == some_state(tmp_path)
    assert stat.S_IMODE(DataDir(tmp_path).state_file.stat().st_mode) == 0o600


def test_what_users_see_of_the_state_holds_no_password(tmp_path: Path) -> None:
    document = some_state(tmp_path).to_document()

    assert "secret" not in json.dumps(document)
    assert document["redis_url"] == "redis://:***@127.0.0.1:7000/0"
    assert document["parts"][0] | {"url": None} == {
        "name": "redis",
        "status": "running",
        "pid": 12,
        "url": None,
        "restarts": 2,
        "reason": None,
        "last_error": "was ended",
    }


@pytest.mark.parametrize("text", [None, "", "{"])
def test_a_state_file_that_is_lost_or_damaged_the_moment_it_was_written_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    data = DataDir(tmp_path)
    file = StateFile(data)

    def write_and_lose(state: StackState) -> os.stat_result:
        written = write_state(state)
        data.state_file.unlink()
        if text is not None:
            data.state_file.write_text(text)
        return written

    with monkeypatch.context() as patched:
        patched.setattr(states, "write_state", write_and_lose)
        file.save(some_state(tmp_path))
    assert read_state(tmp_path) is None

    file.save(some_state(tmp_path))
    assert read_state(tmp_path) == some_state(tmp_path)
    kept = data.state_file.stat().st_mtime_ns
    file.save(some_state(tmp_path))
    assert data.state_file.stat().st_mtime_ns == kept


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 99}', '{"schema": 1}'])
def test_a_damaged_or_foreign_state_file_counts_as_none(tmp_path: Path, text: str) -> None:
    DataDir(tmp_path).state_file.write_text(text)

    assert read_state(tmp_path) is None


def test_the_orders_survive_the_way_to_the_supervisor(tmp_path: Path) -> None:
    parts = resolved(PARTS, server=Path("/bin/server"), config=tmp_path / "server.conf")
    spec = StackSpec(tmp_path, parts=parts, env={"A": "1"}, owner=ProcessId(1, "2-boot"), redis_port=7, temporary=True)

    assert StackSpec.from_json(spec.to_json()) == spec


def test_every_part_waits_for_the_server_and_no_command_line_holds_a_secret() -> None:
    redis, *others = PARTS

    assert (redis.name, redis.needs, redis.ready) == (REDIS, (), Ready.PING)
    assert all(part.needs == (REDIS,) for part in others)
    assert [part.name for part in sorted(CORE, key=lambda part: part.stop_order)] == ["agent", "beat", REDIS]
    assert {part.name for part in PARTS if not part.core} >= {"session-buddy", "akosha"}


def test_the_parts_get_the_settings_that_were_given_and_where_up_was_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAHAVISHNU_IMPORTS", '["my.tasks"]')
    monkeypatch.chdir(tmp_path)
    given = Settings(data_dir=tmp_path / "data", worker_types_file=Path("types.yaml"), pools_enabled=False)

    spec = plan(given)

    monkeypatch.delenv("MAHAVISHNU_IMPORTS")
    for name, value in spec.env.items():
        monkeypatch.setenv(name, value)
    received = Settings()
    assert received.data_dir == tmp_path / "data"
    assert received.imports == ("my.tasks",)
    assert received.worker_types_file == tmp_path / "types.yaml"
    assert received.pools_enabled is False
    assert received.allowed_roots == (tmp_path,)


def test_configured_roots_are_passed_on_instead_of_the_current_directory(tmp_path: Path) -> None:
    spec = plan(Settings(data_dir=tmp_path, allowed_roots=(Path("/srv"),)))

    assert json.loads(spec.env["MAHAVISHNU_ALLOWED_ROOTS"]) == ["/srv"]


def test_with_an_own_redis_no_server_is_started(tmp_path: Path) -> None:
    spec = plan(Settings(data_dir=tmp_path, redis_url=SecretStr("redis://:pw@example:6379/0")))

    assert [part.name for part in spec.parts if part.core] == ["agent", "beat"]
    assert "pw" not in json.dumps(dict(spec.env))


def test_a_log_is_copied_away_and_emptied_while_its_writer_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "part.log"
    with os.fdopen(output.open_log(path), "w") as writer:
        for round_number in range(5):
            writer.write(f"round {round_number}\n")
            writer.flush()
            assert output.rotate(path, limit=3)
        writer.write("last\n")

    assert path.read_text() == "last\n"
    kept = sorted(name.name for name in tmp_path.iterdir())
    assert kept == ["part.log", "part.log.1", "part.log.2", "part.log.3"]
    assert (tmp_path / "part.log.1").read_text() == "round 4\n"
    assert stat.S_IMODE((tmp_path / "part.log.1").stat().st_mode) == 0o600


def test_a_small_log_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "part.log"
    path.write_text("abc")

    assert not output.rotate(path, limit=3)
    assert not output.rotate(tmp_path / "none.log", limit=3)


def test_the_last_lines_are_found_at_the_end_of_a_long_log(tmp_path: Path) -> None:
    path = tmp_path / "part.log"
    path.write_text("x" * 1_000_000 + "\nsecond\nthird\n\n")

    assert output.tail(path, lines=3) == ["second", "third", ""]
    assert output.last_words(path) == "third"
    assert output.tail(tmp_path / "none.log", lines=3) == []


def test_a_lock_lives_as_long_as_any_process_that_inherited_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = try_lock(path)
    assert lock is not None
    copy = os.dup(lock)

    os.close(lock)
    assert is_locked(path)

    os.close(copy)
    assert not is_locked(path)


def test_a_new_data_directory_is_closed_to_others_and_one_in_use_keeps_its_mode(tmp_path: Path) -> None:
    DataDir.at(tmp_path / "new").create()
    used = tmp_path / "used"
    used.mkdir(mode=0o755)
    (used / "file").touch()
    DataDir.at(used).create()

    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert stat.S_IMODE(used.stat().st_mode) == 0o755
    assert all(stat.S_IMODE((used / name).stat().st_mode) == 0o700 for name in ("run", "logs", "db"))


def test_a_data_directory_that_is_a_file_is_a_wrong_setting(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()

    assert read_state(tmp_path / "file") is None
    assert caplog.records == []  # the error says it all
    with pytest.raises(errors.InvalidConfig, match=r"data_dir: .*file is no directory.*--data-dir"):
        DataDir.at(tmp_path / "file").create()


def test_a_data_directory_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(errors.StackPartFailed, match=r"cannot be written \(.*\)\. Name another one"):
        DataDir.at(tmp_path / "file" / "below").create()
