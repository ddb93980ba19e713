"""Worker types as data: the built-in ones, a user's own, what is installed."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from mahavishnu_pools import errors, worker_types
from mahavishnu_pools.worker_types import BUILT_IN, WorkerType
from tests.fakes.run_context import install_program


def test_the_built_in_types_are_there_and_name_their_install_command() -> None:
    ai = {"terminal-claude", "terminal-qwen", "terminal-codex", "terminal-gemini"}
    assert set(BUILT_IN) == {*ai, "shell", "container"}
    assert all(worker_type.install for worker_type in BUILT_IN.values())
    assert {name for name, worker_type in BUILT_IN.items() if worker_type.experimental} == {
        "terminal-codex",
        "terminal-gemini",
    }


def test_a_prompt_goes_to_standard_input_or_into_one_argument() -> None:
    assert BUILT_IN["terminal-qwen"].command("-x é") == (
        ("qwen", "-o", "stream-json", "--approval-mode", "yolo"),
        "-x é".encode(),
    )
    assert BUILT_IN["shell"].command("ls; id") == (("sh", "-c", "ls; id"), None)


@pytest.mark.parametrize(
    "fields",
    [
        {"argv": ("x", "{prompt}")},
        {"argv": ("x",), "prompt_via": "argument"},
        {"argv": ()},
        {"argv": (" ",)},
        {"argv": ("x", "a\0b")},
    ],
)
def test_a_type_that_could_not_run_a_prompt_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        WorkerType.model_validate({"name": "own", **fields})


def test_the_first_installed_program_is_the_default(tmp_path: Path) -> None:
    assert worker_types.default_worker_type(str(tmp_path)) is None
    install_program(tmp_path, "gemini", "")
    assert worker_types.default_worker_type(str(tmp_path)) == "terminal-gemini"
    install_program(tmp_path, "claude", "")
    assert worker_types.default_worker_type(str(tmp_path)) == "terminal-claude"
    install_program(tmp_path, "qwen", "")
    assert worker_types.default_worker_type(str(tmp_path)) == "terminal-qwen"


def test_a_program_is_found_or_missed_with_its_install_command(tmp_path: Path) -> None:
    with pytest.raises(errors.MissingProgram, match="npm install -g @anthropic-ai/claude-code"):
        worker_types.require_program(BUILT_IN["terminal-claude"], path=str(tmp_path))
    install_program(tmp_path, "claude", "")

    assert worker_types.require_program(BUILT_IN["terminal-claude"], path=str(tmp_path)) == str(tmp_path / "claude")


def test_an_unknown_type_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(errors.UnknownChoice, match="terminal-claude"):
        worker_types.get_worker_type("nope")


def test_a_users_file_adds_and_replaces_types(tmp_path: Path) -> None:
    file = tmp_path / "types.yaml"
    file.write_text("own:\n  argv: [own-ai, --json]\n  env_pass: ['OWN_*']\nshell:\n  argv: [bash, -s]\n  ai: false\n")

    known = worker_types.load_worker_types(file)

    assert known["own"].env_pass == ("OWN_*",)
    assert known["shell"].argv == ("bash", "-s")
    assert known["terminal-qwen"] is BUILT_IN["terminal-qwen"]
    assert worker_types.load_worker_types(None) is BUILT_IN


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("own:\n  argv: [x]\n  colour: red\n", "own.colour"),
        ("own:\n  argv: x y\n", "own.argv"),
        ("own:\n  argv: [x]\n  output: html\n", "own.output"),
        ("own: 1\n", "own must hold"),
        ("'bad name':\n  argv: [x]\n", "bad name.name"),
        ("- a\n", "must map names"),
        ("a: [\n", "no valid YAML"),
    ],
)
def test_a_faulty_file_is_an_error_that_names_the_key(tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / "types.yaml"
    file.write_text(text)

    with pytest.raises(errors.InvalidConfig, match=named):
        worker_types.load_worker_types(file)


def test_a_missing_file_is_an_error_that_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidConfig, match="worker_types_file"):
        worker_types.load_worker_types(tmp_path / "none.yaml")


def test_a_type_in_a_container_needs_docker_or_podman_and_takes_the_one_it_names(tmp_path: Path) -> None:
    kind = BUILT_IN["container"]
    with pytest.raises(errors.MissingProgram, match=r"'docker or podman', which is not on PATH\. Install .*podman"):
        worker_types.require_program(kind, path=str(tmp_path))

    install_program(tmp_path, "podman", "")
    assert worker_types.find_program(kind, path=str(tmp_path)) == str(tmp_path / "podman")
    install_program(tmp_path, "docker", "")
    assert worker_types.find_program(kind, path=str(tmp_path)) == str(tmp_path / "docker")
    named = kind.model_copy(update={"program": "podman"})
    assert worker_types.find_program(named, path=str(tmp_path)) == str(tmp_path / "podman")
