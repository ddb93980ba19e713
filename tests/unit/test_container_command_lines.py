"""The command lines for docker and podman, compared as data, and what a payload may not bring into them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mahavishnu_pools.schemas.container import ContainerOptions, ContainerPayload, Mount, is_image
from workers.executors import container_argv
from workers.executors.container_argv import ContainerRun, run_argv
from workers.executors.container_env import handed_over
from workers.executors.interface import Refused


def _run(options: ContainerOptions, **fields: Any) -> ContainerRun:
    given: dict[str, Any] = {
        "name": "c1",
        "image": "python:3.13-slim",
        "command": (),
        "mounts": (),
        "labels": {},
        "env": (),
        "env_file": None,
        "stop_seconds": 5,
        "interactive": False,
    }
    return ContainerRun(options=options, **{**given, **fields})


def test_a_container_gets_nothing_it_did_not_ask_for() -> None:
    assert run_argv("docker", _run(ContainerOptions())) == (
        "docker",
        "run",
        "--rm",
        "--name=c1",
        "--pull=missing",
        "--network=none",
        "--stop-timeout=5",
        "--log-driver=none",
        "python:3.13-slim",
    )


ALL = ContainerOptions(
    cpu=0.5,
    memory="512M",
    network="bridge",
    read_only=True,
    workdir="/src",
    user="1000:1000",
    entrypoint="/entry",
    pull="never",
    init=True,
)


def test_every_option_has_its_place() -> None:
    argv = run_argv("/usr/bin/podman", _run(ALL, command=("-c", "echo $HOME; rm -rf /")))

    assert argv == (
        "/usr/bin/podman",
        "run",
        "--rm",
        "--name=c1",
        "--pull=never",
        "--network=bridge",
        "--cpus=0.50",
        "--memory=512m",
        "--user=1000:1000",
        "--workdir=/src",
        "--entrypoint=/entry",
        "--read-only",
        "--init",
        "--stop-timeout=5",
        "--log-driver=none",
        "python:3.13-slim",
        "-c",
        "echo $HOME; rm -rf /",
    )


def test_labels_mounts_and_variables_have_their_places() -> None:
    run = _run(
        ContainerOptions(),
        mounts=(Mount(source="/a", target="/b"), Mount(source="/c d", target="/e", read_only=False)),
        labels={"mahavishnu.lease": "pool_1:node:abc"},
        env=("A", "TOKEN"),
        env_file=Path("/tmp/env"),
        interactive=True,
    )

    argv = run_argv("docker", run)

    assert argv[3:5] == ("--name=c1", "--label=mahavishnu.lease=pool_1:node:abc")
    assert argv[-8:] == (
        "--log-driver=none",
        "--interactive",
        "--mount=type=bind,source=/a,target=/b,readonly",
        "--mount=type=bind,source=/c d,target=/e",
        "--env=A",
        "--env=TOKEN",
        "--env-file=/tmp/env",
        "python:3.13-slim",
    )


def test_containers_are_found_killed_and_removed() -> None:
    assert container_argv.find_argv("docker", {"a": "1", "b": "2"}) == (
        "docker",
        "ps",
        "--all",
        "--quiet",
        "--no-trunc",
        "--filter=label=a=1",
        "--filter=label=b=2",
    )
    assert container_argv.kill_argv("docker", ["x", "y"]) == ("docker", "kill", "x", "y")
    assert container_argv.remove_argv("docker", ["x"]) == ("docker", "rm", "--force", "--volumes", "x")


@pytest.mark.parametrize(
    "image",
    [
        "python",
        "python:3.13-slim",
        "library/python",
        "localhost/app:1",
        "localhost:5000/team/app_x:V1.0",
        "registry.example.org/a/b/c@sha256:" + "0" * 64,
        "ghcr.io/Example/app".lower(),
        "sha256:" + "a" * 64,
    ],
)
def test_an_image_reference_is_taken(image: str) -> None:
    assert is_image(image)


@pytest.mark.parametrize(
    "image",
    [
        "",
        "-it",
        "--privileged",
        "oci:/etc",
        "docker-archive:/x.tar",
        "a b",
        "a;b",
        "$(id)",
        "/etc",
        "a//b",
        "x" * 501,
        3,
    ],
)
def test_what_is_no_image_reference_is_refused(image: object) -> None:
    assert not is_image(image)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"image": "--privileged"}, "image"),
        ({"network": "container:other"}, "network"),
        ({"network": "--privileged"}, "network"),
        ({"user": "-1"}, "user"),
        ({"user": "a:b:c"}, "user"),
        ({"memory": "lots"}, "memory"),
        ({"cpu": 0}, "cpu"),
        ({"workdir": "src"}, "absolute path"),
        ({"pull": "sometimes"}, "pull"),
        ({"mounts": ["/a"]}, "absolute path"),
        ({"mounts": ["/a:/b:rw,z"]}, "source:target:rw"),
        ({"mounts": [{"source": "/a", "target": "/b,readonly=false"}]}, "comma"),
        ({"mounts": [{"source": "/a\n", "target": "/b"}]}, "line end"),
        ({"env": {"A*": "1"}}, "name of a variable"),
        ({"env": {"A=B": "1"}}, "name of a variable"),
        ({"command": []}, "must not be empty"),
        ({"command": ["a\0"]}, "NUL"),
        ({"command": ["a"], "shell": True}, "as one text"),
        ({"shell": True}, "as one text"),
        ({"privileged": True}, "privileged"),
    ],
)
def test_a_payload_that_could_mean_something_else_is_refused(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        ContainerPayload.model_validate({"image": "python", **fields})


def test_mounts_may_be_text_and_are_read_only_unless_said() -> None:
    payload = ContainerPayload.model_validate({"image": "python", "mounts": ["/a:/b", "c:/d:rw", "/e:/f:ro"]})

    assert payload.mounts == (
        Mount(source="/a", target="/b"),
        Mount(source="c", target="/d", read_only=False),
        Mount(source="/e", target="/f"),
    )


def test_variables_go_by_name_and_those_the_program_itself_reads_in_a_file_for_its_owner_only() -> None:
    given = {"TOKEN": "a\nb", "DOCKER_HOST": "tcp://evil", "LD_PRELOAD": "/x.so", "HOME": "/home/me", "a.b": " 1 "}

    with handed_over(given, engine_env={"HOME": "/", "PATH": "/bin"}) as variables:
        assert variables.inherited == {"TOKEN": "a\nb", "a.b": " 1 "}
        file = variables.file
        assert file is not None
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.read_text() == "DOCKER_HOST=tcp://evil\nLD_PRELOAD=/x.so\nHOME=/home/me\n"
    assert not file.exists()


@pytest.mark.parametrize(
    "variables", [{"A B": "1"}, {"A*": "1"}, {"": "1"}, {"DOCKER_X": "a\nb"}, {"GODEBUG": "x" * 70_000}]
)
def test_a_variable_that_cannot_be_handed_over_is_refused(variables: dict[str, str]) -> None:
    with pytest.raises(Refused, match="env: "), handed_over(variables, engine_env={}):
        pass
