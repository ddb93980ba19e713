"""Tasks in containers, with a stand-in for docker that runs real processes."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from mahavishnu_pools.schemas.task import Outcome
from mahavishnu_pools.worker_types import BUILT_IN, WorkerType
from tests.fakes.run_context import RecordingLog, left_running, make_context
from tests.fixtures.containers import StandIn
from tests.waiting import eventually
from workers.executors.interface import RunContext
from workers.executors.registry import execute

IMAGE = "example/tool:1"


def context_of(
    engine: StandIn, payload: dict[str, Any], *, spec: dict[str, Any] | None = None, **more: Any
) -> RunContext:
    fields = {"task_type": "container", "payload": {"image": IMAGE, **payload}, "timeout": 30.0, **(spec or {})}
    return make_context(fields, **{"env": engine.env, **more})


def shell(script: str) -> dict[str, Any]:
    return {"command": script, "shell": True}


def cancel_when_begun(context: RunContext) -> Outcome:
    assert isinstance(context.log, RecordingLog)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(execute, context)
        eventually(context.log.text, until=lambda text: "begun" in text)
        threading.Thread(target=context.cancellation.cancel).start()
        return future.result(30)


def test_a_command_runs_to_its_end_and_its_container_is_removed(engine: StandIn) -> None:
    context = context_of(engine, shell("echo out; echo err >&2; exit 3"))

    outcome = execute(context)

    assert (outcome.status, outcome.output, outcome.exit_code) == ("failed", "out\n", 3)
    assert outcome.error == "The command ended with exit code 3: err"
    assert isinstance(context.log, RecordingLog)
    assert (context.log.text("stdout"), context.log.text("stderr")) == ("out\n", "err\n")
    assert engine.containers() == []
    assert [call[0] for call in engine.calls()] == ["run"]


def test_the_labels_say_whose_a_container_is(engine: StandIn) -> None:
    agent = {"MAHAVISHNU_LEASE": "pool_1:n:1", "MAHAVISHNU_NODE_NAME": "n", "MAHAVISHNU_AGENT_ID": "abc"}
    services = {"namespace": "test"}
    context = context_of(engine, {}, env={**engine.env, **agent}, services=services, attempt=2)

    execute(context)

    [call] = engine.calls("run")
    assert [one.removeprefix("--label=") for one in call if one.startswith("--label=")] == [
        f"mahavishnu.task_id={context.task_id}",
        "mahavishnu.attempt=2",
        "mahavishnu.pool_id=pool_test",
        "mahavishnu.lease=pool_1:n:1",
        "mahavishnu.node=n",
        "mahavishnu.agent_id=abc",
        "mahavishnu.namespace=test",
    ]


def test_a_container_that_ends_in_order_when_told_to_keeps_its_last_words(engine: StandIn) -> None:
    script = "trap 'echo bye; exit 0' TERM; echo begun; while :; do sleep 0.05; done"

    outcome = cancel_when_begun(context_of(engine, shell(script)))

    assert (outcome.status, outcome.output) == ("cancelled", "begun\nbye\n")
    assert engine.containers() == []


@pytest.mark.parametrize("how", ["cancelled", "timeout"])
def test_a_container_that_does_not_listen_is_killed_and_removed(engine: StandIn, how: str) -> None:
    script = shell("echo begun; sleep 60 & sleep 60")
    context = context_of(engine, script, spec={"timeout": 3.0 if how == "timeout" else 30.0})

    outcome = cancel_when_begun(context) if how == "cancelled" else execute(context)

    assert (outcome.status, outcome.output) == (how, "begun\n")
    assert engine.containers() == []
    assert left_running(context) == []
    assert [call[0] for call in engine.calls()] == ["run", "kill", "rm"]


def test_no_value_of_a_variable_is_on_a_command_line_or_in_what_comes_out(engine: StandIn, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets.env"
    secrets.write_text("DEPLOY_TOKEN=swordfish-1\n")
    secrets.chmod(0o600)
    payload = {
        **shell("echo $DEPLOY_TOKEN $API_KEY $PLAIN $PATH"),
        "env": {"API_KEY": "hunter2hunter2", "PATH": "/bin"},
    }
    spec = {"secrets": ("DEPLOY_TOKEN",), "env": {"PLAIN": "value"}}
    context = context_of(engine, payload, spec=spec, services={"secrets_file": secrets})

    outcome = execute(context)

    assert outcome.output == "••• ••• value /bin\n"
    words = " ".join(word for call in engine.calls() for word in call)
    assert not any(value in words for value in ("swordfish-1", "hunter2hunter2", "value"))


def test_a_container_has_none_of_the_agents_variables(engine: StandIn) -> None:
    agent = {**engine.env, "MAHAVISHNU_LEASE": "l", "MAHAVISHNU_AGENT_ID": "a", "DOCKER_HOST": "unix:///x", "LANG": "C"}
    context = context_of(engine, {"command": "env"}, env=agent)

    names = {line.partition("=")[0] for line in execute(context).output.splitlines()}

    ids = {"MAHAVISHNU_TASK_ID", "MAHAVISHNU_POOL_ID", "MAHAVISHNU_ATTEMPT", "MAHAVISHNU_CONTAINER"}
    assert names - {"PWD", "SHLVL", "_"} == {*ids, "PATH", "HOSTNAME"}


def test_a_variable_of_a_task_reaches_its_container_and_not_the_program_that_starts_it(engine: StandIn) -> None:
    given = {"PATH": "/nowhere", "LD_LIBRARY_PATH": "/lib-of-mine", "DOCKER_HOST": "tcp://elsewhere"}
    payload = {"command": ["/bin/sh", "-c", "echo $PATH $LD_LIBRARY_PATH $DOCKER_HOST"], "env": given}

    assert execute(context_of(engine, payload)).output == "/nowhere /lib-of-mine tcp://elsewhere\n"
    [call] = engine.calls("run")
    assert [one for one in call if one.startswith("--env=") and one.removeprefix("--env=") in given] == []


def test_a_mount_must_lie_inside_the_allowed_roots_also_through_a_link(engine: StandIn, tmp_path: Path) -> None:
    root, secret = tmp_path / "root", tmp_path / "secret"
    (root / "data").mkdir(parents=True)
    secret.mkdir()
    (root / "link").symlink_to(secret)

    def mounted(*mounts: str) -> Outcome:
        payload = {"command": "true", "mounts": list(mounts)}
        return execute(context_of(engine, payload, spec={"cwd": str(root)}, allowed_roots=(root,)))

    for outside in (f"{secret}:/s", f"{root}/link:/s", "../secret:/s", "link:/s"):
        assert "is outside the allowed roots" in (mounted(outside).error or "")
    assert "does not exist" in (mounted("nothing:/s").error or "")
    assert engine.calls() == []
    assert mounted("data:/d", f"{root}/data:/e:rw", ".:/all").status == "completed"
    [call] = engine.calls("run")
    assert [one for one in call if one.startswith("--mount=")] == [
        f"--mount=type=bind,source={root}/data,target=/d,readonly",
        f"--mount=type=bind,source={root}/data,target=/e",
        f"--mount=type=bind,source={root},target=/all,readonly",
    ]


def test_without_docker_and_podman_a_task_says_what_to_install(engine: StandIn) -> None:
    (engine.bin / "docker").unlink()

    outcome = execute(context_of(engine, {}))

    assert outcome.status == "failed"
    assert "'docker or podman', which is not on PATH. Install it with: apt-get install podman" in (outcome.error or "")
    assert outcome.retryable is None


def test_a_silent_engine_is_named_and_tried_again_later(engine: StandIn) -> None:
    engine.silence()

    outcome = execute(context_of(engine, {}))

    assert (outcome.status, outcome.retryable) == ("failed", "connection")
    assert outcome.error is not None
    assert outcome.error.startswith("docker is installed here, but its engine does not answer (docker: Cannot connect")


def test_podman_takes_over_where_docker_is_silent(engine: StandIn, tmp_path: Path) -> None:
    other = tmp_path / "podman-engine"
    other.mkdir()
    engine.install("podman", state=other)
    engine.silence()

    assert execute(context_of(engine, {"command": "echo hi"})).output == "hi\n"
    assert "run" not in [call[0] for call in engine.calls()]


def test_a_worker_type_may_name_the_program(engine: StandIn, tmp_path: Path) -> None:
    other = tmp_path / "podman-engine"
    other.mkdir()
    engine.install("podman", state=other)
    types = {**BUILT_IN, "container": BUILT_IN["container"].model_copy(update={"program": "podman"})}

    assert execute(context_of(engine, {}, services={"worker_types": types})).status == "completed"
    assert engine.calls() == []


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (
            {"image": "missing/image:1"},
            "docker could not run the container: docker: Error response from daemon: No such",
        ),
        (
            {"command": ["no-such-program"]},
            "docker could not run the container: docker: Error response from daemon: exec:",
        ),
        ({"command": "echo 'unclosed"}, "payload.command cannot be split into words"),
    ],
)
def test_what_cannot_be_run_fails_with_what_docker_said(engine: StandIn, payload: dict[str, Any], said: str) -> None:
    outcome = execute(context_of(engine, payload))

    assert outcome.status == "failed"
    assert (outcome.error or "").startswith(said)
    assert outcome.retryable is None
    assert engine.containers() == []


def test_a_command_may_itself_end_with_a_code_that_docker_uses(engine: StandIn) -> None:
    outcome = execute(context_of(engine, shell("echo mine >&2; exit 125")))

    assert (outcome.exit_code, outcome.error) == (125, "The command ended with exit code 125: mine")


def test_a_killed_command_with_a_memory_limit_says_what_may_be_the_cause(engine: StandIn) -> None:
    outcome = execute(context_of(engine, {**shell("kill -9 $$"), "memory": "64m"}))

    assert outcome.exit_code == 137
    assert "64m of memory may have been too little" in (outcome.error or "")


def test_a_container_whose_program_is_killed_does_not_outlive_the_task(engine: StandIn) -> None:
    # The program's own process group is all that such a kill reaches.
    context = context_of(engine, shell("echo begun; sleep 60"))
    assert isinstance(context.log, RecordingLog)

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(execute, context)
        eventually(context.log.text)
        [program] = [one for one in psutil.Process().children(recursive=True) if "run" in one.cmdline()]
        os.kill(program.pid, 9)
        outcome = future.result(30)

    assert outcome.status == "failed"
    assert engine.containers() == []
    assert left_running(context) == []


def test_a_prompt_in_a_container_has_the_tasks_directory_at_its_own_path(engine: StandIn, tmp_path: Path) -> None:
    spec = {"prompt": "pwd; touch made", "cwd": str(tmp_path)}
    context = make_context(
        spec, worker_type="container", env=engine.env, services={"container_image": IMAGE}, allowed_roots=(tmp_path,)
    )

    assert execute(context).output == f"{tmp_path}\n"
    assert (tmp_path / "made").exists()
    [call] = engine.calls("run")
    assert f"--mount=type=bind,source={tmp_path},target={tmp_path}" in call
    assert call[-4:] == [IMAGE, "sh", "-c", "pwd; touch made"]


@pytest.mark.parametrize(("image", "said"), [(None, "has no image"), ("--privileged", "has no usable image")])
def test_a_prompt_in_a_container_needs_an_image(engine: StandIn, image: str | None, said: str) -> None:
    spec = {"prompt": "true"}
    context = make_context(spec, worker_type="container", env=engine.env, services={"container_image": image})

    outcome = execute(context)

    assert said in (outcome.error or "")
    assert "--container-image" in (outcome.error or "")


def test_an_ai_program_in_a_container_gets_its_variables_and_its_answer_is_read(engine: StandIn) -> None:
    answer = '{"type": "result", "subtype": "success", "result": "'
    script = f"cat >/dev/null; echo '{answer}'$EXAMPLE_MODEL'\"}}'"
    boxed = WorkerType.model_validate(
        {
            "name": "boxed",
            "argv": ["sh", "-c", script],
            "output": "claude-json",
            "env_pass": ["EXAMPLE_*"],
            "container": {"image": IMAGE, "network": "bridge"},
        }
    )
    env = {**engine.env, "EXAMPLE_MODEL": "large", "OTHER": "x"}
    context = make_context(
        {"prompt": "hello"}, worker_type="boxed", env=env, services={"worker_types": {"boxed": boxed}}
    )

    outcome = execute(context)

    assert (outcome.status, outcome.output) == ("completed", "large")
    [call] = engine.calls("run")
    assert "--interactive" in call
    assert "--network=bridge" in call
