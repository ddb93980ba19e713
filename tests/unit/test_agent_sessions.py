"""Conversations with AI programs: which one a task goes on with, when a fresh one begins, and what is told of it."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.task import Outcome, TaskSpec
from mahavishnu_pools.store import keys
from mahavishnu_pools.store.agent_sessions import KnownSession, find_session, keep_session, session_name
from mahavishnu_pools.store.client import SyncStore
from mahavishnu_pools.worker_types import BUILT_IN, WorkerType
from mahavishnu_pools.worktrees.records import Place
from tests.fakes.run_context import RecordingLog, install_program, make_context
from tests.waiting import eventually
from workers.executors.interface import Cancellation, RunContext
from workers.executors.registry import execute
from workers.sessions import Sessions

#: Answers in the session it is asked for, else in one that is named after the prompt. ``known`` holds the sessions it
#: knows, ``asked`` what it was asked; of a session it does not know it says so as the real claude does.
CLAUDE = """
prompt=$(cat); id=$prompt; [ "$1" = --resume ] && id=$2
echo "$1 $2 $prompt" >> "$HOME/asked"
if [ "$1" = --resume ] && ! grep -qx "$id" "$HOME/known"; then
  echo '{"type":"result","subtype":"error_during_execution","is_error":true,"num_turns":0,"session_id":"'$id'",
"errors":["No conversation found with session ID: '$id'"]}' | tr -d '\\n'; echo; exit 1
fi
echo '{"type":"system","subtype":"init","session_id":"'$id'","model":"m"}'
echo "$id" >> "$HOME/known"
while [ -e "$HOME/hold" ]; do sleep 0.02; done
echo '{"type":"result","subtype":"success","is_error":false,"result":"ok","session_id":"'$id'"}'
"""

QWEN_UNKNOWN = """
echo "$1 $2 $(cat)" >> "$HOME/asked"
if [ "$1" = --resume ]; then echo "No saved session found with ID $2. Run qwen --resume without an ID." >&2; exit 1; fi
echo '{"type":"system","subtype":"init","session_id":"new","model":"m"}'
echo '{"type":"result","subtype":"success","is_error":false,"result":"ok","session_id":"new"}'
"""


class Desk:
    """A directory with a program, and workers that remember sessions."""

    def __init__(self, directory: Path, store: SyncStore) -> None:
        self.directory = directory
        self.store = store
        self.sessions = Sessions(store, node="node1")
        install_program(directory / "bin", "claude", CLAUDE)
        install_program(directory / "bin", "qwen", QWEN_UNKNOWN)

    def context(self, prompt: str, *, session: str | None = "fix", kind: str = "claude", **fields: Any) -> RunContext:
        spec = {"prompt": prompt, "session": session, "cwd": str(self.directory), **fields.pop("spec", {})}
        env = {"PATH": f"{self.directory / 'bin'}:{os.environ['PATH']}", "HOME": str(self.directory)}
        services = {"sessions": self.sessions, **fields.pop("services", {})}
        return make_context(spec, worker_type=f"terminal-{kind}", env=env, services=services, **fields)

    def run(self, prompt: str, **fields: Any) -> Outcome:
        return execute(self.context(prompt, **fields))

    def asked(self) -> list[str]:
        return [line.strip() for line in (self.directory / "asked").read_text().splitlines()]

    @property
    def name(self) -> str:
        return session_name("fix", worker_type="terminal-claude", directory=str(self.directory.resolve()))


@pytest.fixture
def desk(redis_url: str, namespace: str, tmp_path: Path) -> Iterator[Desk]:
    with SyncStore(redis_url, namespace=namespace) as store:
        yield Desk(tmp_path, store)


def _plain(prompt: str) -> str:
    argv, _ = BUILT_IN["terminal-claude"].command("x")
    return f"{argv[1]} {argv[2]} {prompt}"


def test_the_second_task_of_a_session_goes_on_with_it(desk: Desk) -> None:
    first, second = desk.run("one"), desk.run("two")

    assert desk.asked() == [_plain("one"), "--resume one two"]
    assert first.metadata["session"] == {
        "key": "fix",
        "state": "fresh",
        "why": "it is the first of this key, worker type and directory, or the last was over 30 days ago",
    }
    assert second.metadata["session"] == {"key": "fix", "state": "resumed"}
    assert second.metadata["session_id"] == "one"


def test_another_key_another_directory_and_no_session_begin_anew(desk: Desk) -> None:
    (desk.directory / "sub").mkdir()
    desk.run("one")
    other = desk.run("two", session="review")
    below = desk.run("three", spec={"cwd": str(desk.directory / "sub")})
    without = desk.run("four", session=None)

    assert [line.split()[0] for line in desk.asked()] == ["-p"] * 4
    assert [one.metadata["session"]["state"] for one in (other, below)] == ["fresh"] * 2  # type: ignore[index, call-overload]
    assert "session" not in without.metadata


def test_a_session_that_the_program_does_not_know_is_begun_anew_once_and_told(desk: Desk) -> None:
    desk.run("one")
    (desk.directory / "known").write_text("")

    context = desk.context("two")
    outcome = execute(context)
    again = desk.run("three")

    assert outcome.status == "completed"
    assert desk.asked() == [_plain("one"), "--resume one two", _plain("two"), "--resume two three"]
    told = outcome.metadata["session"]
    assert isinstance(told, dict)
    assert told["state"] == "fresh"
    assert "No conversation found with session ID: one" in str(told["why"])
    assert isinstance(context.log, RecordingLog)
    assert "a fresh one begins" in context.log.text("stderr")
    assert again.metadata["session"] == {"key": "fix", "state": "resumed"}


def test_qwen_says_so_in_other_words(desk: Desk) -> None:
    desk.run("one", kind="qwen")

    outcome = desk.run("two", kind="qwen")

    assert outcome.status == "completed"
    assert [line.split()[0] for line in desk.asked()] == ["-o", "--resume", "-o"]
    assert "No saved session found with ID new" in outcome.metadata["session"]["why"]  # type: ignore[index, call-overload, operator]


def test_a_session_on_another_node_is_left_there(desk: Desk) -> None:
    desk.store.run(keep_session(desk.name, KnownSession("far", "node2")))

    outcome = desk.run("one")

    assert desk.asked() == [_plain("one")]
    assert outcome.metadata["session"] == {
        "key": "fix",
        "state": "fresh",
        "why": "the one before is on node node2, and this ran on node node1",
    }
    assert desk.store.run(find_session(desk.name)) == KnownSession("one", "node1")


def test_a_turn_that_was_cancelled_is_part_of_the_session(desk: Desk) -> None:
    (desk.directory / "hold").touch()
    cancellation = Cancellation()
    found: list[Outcome] = []
    running = threading.Thread(target=lambda: found.append(desk.run("one", cancellation=cancellation)))
    running.start()
    eventually((desk.directory / "known").exists, within=30)
    cancellation.cancel()
    running.join()
    (desk.directory / "hold").unlink()

    outcome = desk.run("two")

    assert found[0].status == "cancelled"
    assert outcome.metadata["session"] == {"key": "fix", "state": "resumed"}


def test_tasks_of_a_session_run_one_after_another_and_a_cancelled_one_does_not_wait(desk: Desk) -> None:
    (desk.directory / "hold").touch()
    given_up = Cancellation()
    found: dict[str, Outcome] = {}

    def start(prompt: str, **fields: Any) -> threading.Thread:
        thread = threading.Thread(target=lambda: found.update({prompt: desk.run(prompt, **fields)}))
        thread.start()
        return thread

    threads = [start("one")]
    eventually((desk.directory / "known").exists, within=30)
    threads += [start("two", cancellation=given_up), start("three")]
    eventually(lambda: len(desk.sessions._lines[desk.name]) == 3, within=30)
    given_up.cancel()
    threads[1].join(30)
    assert found["two"].status == "cancelled"
    assert desk.asked() == [_plain("one")]
    (desk.directory / "hold").unlink()
    for thread in threads:
        thread.join(30)

    assert desk.asked() == [_plain("one"), "--resume one three"]
    assert desk.sessions._lines == {}


def test_a_worktree_of_its_own_keeps_no_session(desk: Desk) -> None:
    repository = desk.directory / "repo"
    repository.mkdir()
    (repository / "file").write_text("")
    who = ("-c", "user.name=Ana", "-c", "user.email=ana@example.org")
    for command in (("init", "-q"), ("add", "."), (*who, "commit", "-qm", "first")):
        subprocess.run(("git", *command), cwd=repository, check=True)
    place = Place(desk.directory / "data", "Ana <ana@example.org>")
    fields = {"services": {"worktrees": place}, "spec": {"isolation": "worktree", "cwd": str(repository)}}

    outcomes = [desk.run("one", **fields) for _ in range(2)]

    assert [one.status for one in outcomes] == ["completed"] * 2, outcomes[0].error
    assert [one.metadata["session"]["why"] for one in outcomes] == ["it ran in a worktree of its own"] * 2  # type: ignore[index, call-overload]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"spec": {"cwd": None}}, "directory of its own"),
        ({"services": {"sessions": None}}, "nothing here remembers sessions"),
        ({"services": {"isolation": "worktree"}, "spec": {"isolation": "none"}}, "it is the first"),
        ({"spec": {"worker_type": "own"}}, "has no command for going on"),
    ],
)
def test_what_keeps_no_session_says_so(desk: Desk, fields: dict[str, Any], why: str) -> None:
    own = WorkerType(name="own", argv=("claude",), output="claude-json")
    fields["services"] = {"worker_types": {**BUILT_IN, "own": own}, **fields.get("services", {})}

    outcome = desk.run("one", **fields)

    assert outcome.status == "completed"
    assert why in outcome.metadata["session"]["why"]  # type: ignore[index, call-overload, operator]


def test_without_the_store_a_fresh_session_begins(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_: Any) -> Any:
        raise errors.RedisUnavailable("Redis does not answer.")

    monkeypatch.setattr(desk.store, "run", away)

    outcome = desk.run("one")

    assert outcome.status == "completed"
    assert "could not be looked up" in outcome.metadata["session"]["why"]  # type: ignore[index, call-overload, operator]


def test_sessions_are_forgotten_after_30_days(desk: Desk) -> None:
    desk.run("one")

    left = desk.store.redis.pttl(keys.key("agent_session", prefix=desk.store.prefix, of=desk.name))

    assert 29.9 * 86_400_000 < left <= 30 * 86_400_000


@pytest.mark.parametrize("odd", ["--help", "a b", "", "x" * 200, None, 7])
def test_an_id_that_could_be_an_option_is_never_used(desk: Desk, odd: object) -> None:
    event = {"type": "result", "subtype": "success", "is_error": False, "result": "ok", "session_id": odd}
    install_program(
        desk.directory / "bin", "claude", f"cat > /dev/null; echo \"$*\" >> $HOME/asked; echo '{json.dumps(event)}'"
    )

    desk.run("one")
    desk.run("two")

    assert not any("--resume" in line for line in desk.asked())


@pytest.mark.parametrize(
    "spec",
    [
        {"task_type": "shell", "payload": {"command": "x"}, "session": "s"},
        {"prompt": "x", "session": ""},
        {"prompt": "x", "session": "s" * 201},
    ],
)
def test_a_session_that_cannot_be_is_refused(spec: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TaskSpec.model_validate(spec)


@pytest.mark.parametrize("fields", [{"resume": ("--resume",)}, {"session_lost": "("}])
def test_a_worker_type_whose_sessions_cannot_work_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WorkerType(name="own", argv=("x",), **fields)
