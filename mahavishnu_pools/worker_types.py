"""Worker types: how a prompt is run, as data. Users add their own in YAML; the built-in ones are below."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from mahavishnu_pools import errors
from mahavishnu_pools.refusals import refusal
from mahavishnu_pools.schemas.base import Value
from mahavishnu_pools.schemas.container import WorkerContainer
from mahavishnu_pools.yaml_file import read_yaml

#: Stands for the prompt in the argv of a worker type that passes it as an argument.
PROMPT = "{prompt}"

#: Stands for the program's id of a session in the arguments with which a worker type goes on with one.
SESSION = "{session}"

#: The programs that can run a container, the preferred one first.
CONTAINER_PROGRAMS = ("docker", "podman")

#: The worker type whose presence among a node's programs says that containers can run there.
CONTAINER = "container"

#: How the standard output is read: as it is, or as the event stream of one of the AI programs.
OutputFormat = Literal["text", "claude-json", "qwen-json", "codex-json", "gemini-json"]

#: Variables that AI programs need behind a proxy or with a private certificate authority.
_NETWORK_ENV = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
)


class WorkerType(Value):
    """How a prompt is run: the command, where the prompt goes, how the answer is read.

    ``argv`` holds ``{prompt}`` as one element when ``prompt_via`` is ``argument``. ``env_pass`` names the variables (a
    trailing ``*`` matches the rest) that pass to the program besides the ones every task gets. ``program`` must be on
    PATH; empty means ``argv[0]``. With a ``container`` the command runs in one, and ``program`` is what starts it
    (empty: docker, else podman). ``ai`` tells whether it understands prose, so that an unregistered task type can be
    sent to it as a prompt. ``experimental`` marks a command line nobody has observed yet. ``login`` names variables,
    and files (from ``/`` or ``~/``), each of which shows that somebody has logged in; checks tell of it. ``logged_out``
    is an expression that finds in its error that nobody has, ``log_in`` says what to do then. ``resume`` are the
    arguments, put behind the program, that have it go on with a session; ``session_lost`` is an expression that
    finds in its error that it does not know that session.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")
    argv: tuple[str, ...] = Field(min_length=1)
    prompt_via: Literal["stdin", "argument"] = "stdin"
    output: OutputFormat = "text"
    env_pass: tuple[str, ...] = ()
    program: str = ""
    install: str = ""
    ai: bool = True
    experimental: bool = False
    login: tuple[str, ...] = ()
    logged_out: str = ""
    log_in: str = ""
    container: WorkerContainer | None = None
    resume: tuple[str, ...] = ()
    session_lost: str = ""

    @field_validator("argv")
    @classmethod
    def _argv_is_usable(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value[0].strip():
            raise ValueError("the first element must be the program")
        if any("\0" in part for part in value):
            raise ValueError("an element holds a NUL character")
        return value

    @field_validator("resume")
    @classmethod
    def _session_has_a_place(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value and SESSION not in value:
            raise ValueError("must hold the element '{session}'")
        return value

    @field_validator("session_lost", "logged_out")
    @classmethod
    def _is_an_expression(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as exc:
            raise ValueError(f"is no regular expression: {exc}") from exc
        return value

    @model_validator(mode="after")
    def _prompt_has_a_place(self) -> Self:
        if (PROMPT in self.argv) != (self.prompt_via == "argument"):
            raise ValueError("argv must hold the element '{prompt}' when prompt_via is 'argument', and only then")
        return self

    @property
    def programs(self) -> tuple[str, ...]:
        """Return the programs of which one must be on PATH, the preferred one first."""
        if self.program:
            return (self.program,)
        return (self.argv[0],) if self.container is None else CONTAINER_PROGRAMS

    @property
    def needs(self) -> str:
        """Return the program that must be on PATH, for people."""
        return " or ".join(self.programs)

    def command(self, prompt: str, *, session: str | None = None) -> tuple[tuple[str, ...], bytes | None]:
        """Return the argv and the standard input (None: nothing) that run this prompt.

        ``session`` is the program's id of the session it goes on with (None: a fresh one).
        """
        goes_on = () if session is None else tuple(session if part == SESSION else part for part in self.resume)
        argv = (self.argv[0], *goes_on, *self.argv[1:])
        if self.prompt_via == "stdin":
            return argv, prompt.encode("utf-8", "surrogateescape")
        return tuple(prompt if part == PROMPT else part for part in argv), None


def _ai_types() -> tuple[WorkerType, ...]:
    return (
        WorkerType(
            name="terminal-claude",
            argv=("claude", "-p", "--output-format", "stream-json", "--verbose", "--permission-mode", "acceptEdits"),
            output="claude-json",
            env_pass=("ANTHROPIC_*", "CLAUDE_*", *_NETWORK_ENV),
            install="npm install -g @anthropic-ai/claude-code",
            login=(
                "ANTHROPIC_API_KEY",
                "ANTHROPIC_AUTH_TOKEN",
                "CLAUDE_CODE_OAUTH_TOKEN",
                "~/.claude/.credentials.json",
            ),
            logged_out=r"^Not logged in\b|\(status 401\)$",
            log_in="run 'claude' as the user of its agent and type /login, or start the agent with ANTHROPIC_API_KEY",
            resume=("--resume", SESSION),
            session_lost="No conversation found with session ID",
        ),
        WorkerType(
            name="terminal-qwen",
            argv=("qwen", "-o", "stream-json", "--approval-mode", "yolo"),
            output="qwen-json",
            env_pass=("OPENAI_*", "QWEN_*", "DASHSCOPE_*", *_NETWORK_ENV),
            install="npm install -g @qwen-code/qwen-code",
            login=("OPENAI_API_KEY", "DASHSCOPE_API_KEY", "~/.qwen/oauth_creds.json"),
            logged_out=r"^\[API Error: 401\b|^No auth type is selected\b|^Missing API key\b",
            log_in="run 'qwen' as the user of its agent and type /auth, or start the agent with OPENAI_API_KEY",
            resume=("--resume", SESSION),
            session_lost="No saved session found",
        ),
        WorkerType(
            name="terminal-codex",
            argv=("codex", "exec", "--json", "--skip-git-repo-check", "--sandbox", "workspace-write", "-"),
            output="codex-json",
            env_pass=("OPENAI_*", "CODEX_*", *_NETWORK_ENV),
            install="npm install -g @openai/codex",
            login=("OPENAI_API_KEY", "CODEX_API_KEY", "~/.codex/auth.json"),
            experimental=True,
        ),
        WorkerType(
            name="terminal-gemini",
            argv=("gemini", "--output-format", "stream-json", "--approval-mode", "yolo"),
            output="gemini-json",
            env_pass=("GEMINI_*", "GOOGLE_*", *_NETWORK_ENV),
            install="npm install -g @google/gemini-cli",
            login=("GEMINI_API_KEY", "GOOGLE_API_KEY", "~/.gemini/oauth_creds.json"),
            experimental=True,
        ),
    )


def _command_types() -> tuple[WorkerType, ...]:
    return (
        # The prompt is the user's own command line, handed over as one argument; nothing is pasted into it.
        WorkerType(
            name="shell",
            argv=("sh", "-c", PROMPT),
            prompt_via="argument",
            ai=False,
            install="the system's package manager",
        ),
        WorkerType(
            name=CONTAINER,
            argv=("sh", "-c", PROMPT),
            prompt_via="argument",
            ai=False,
            install="apt-get install podman, dnf install podman, or the steps on docs.docker.com/engine/install",
            container=WorkerContainer(),
        ),
    )


#: The worker types that exist without any configuration.
BUILT_IN: Mapping[str, WorkerType] = MappingProxyType({one.name: one for one in (*_ai_types(), *_command_types())})

#: In this order an AI program is looked for when a pool names no worker type.
DEFAULT_ORDER = ("terminal-qwen", "terminal-claude", "terminal-codex", "terminal-gemini")


def load_worker_types(path: Path | None) -> Mapping[str, WorkerType]:
    """Return the built-in worker types and those of the user's YAML file, which win; None is no file.

    The file maps names to the fields of ``WorkerType`` (without ``name``).

    Raises:
        InvalidConfig: the file cannot be read, is no YAML, or a key in it cannot be used; the message names the key.
    """
    if path is None:
        return BUILT_IN
    content = _read_yaml(path)
    own = {str(name): _parse(path, str(name), fields) for name, fields in content.items()}
    return MappingProxyType({**BUILT_IN, **own})


def get_worker_type(name: str, *, known: Mapping[str, WorkerType] = BUILT_IN) -> WorkerType:
    """Return the worker type of this name.

    Raises:
        UnknownChoice: there is none; the message lists the names that exist.
    """
    try:
        return known[name]
    except KeyError:
        raise errors.UnknownChoice.of("worker type", name, list(known)) from None


def find_program(worker_type: WorkerType, *, path: str | None = None) -> str | None:
    """Return the full path of the worker type's program, or None; ``path`` is a PATH value (None: this process's)."""
    places = os.environ.get("PATH", os.defpath) if path is None else path
    return next((found for name in worker_type.programs if (found := shutil.which(name, path=places))), None)


def require_program(worker_type: WorkerType, *, path: str | None = None) -> str:
    """Return the full path of the worker type's program; ``path`` is a PATH value (None: this process's).

    Raises:
        MissingProgram: it is not there; the message holds the install command.
    """
    found = find_program(worker_type, path=path)
    if found is None:
        install = worker_type.install or f"the instructions of {worker_type.needs}"
        raise errors.MissingProgram.of(worker_type.name, worker_type.needs, install)
    return found


def default_worker_type(path: str | None = None, *, known: Mapping[str, WorkerType] = BUILT_IN) -> str | None:
    """Return the first of qwen, claude, codex and gemini that is on PATH (None: this process's), or None."""
    for name in DEFAULT_ORDER:
        if name in known and find_program(known[name], path=path):
            return name
    return None


def no_ai_program(*, known: Mapping[str, WorkerType] = BUILT_IN) -> errors.MissingProgram:
    """Build the error for a prompt on a pool without a worker type: none of the AI programs is installed."""
    first = known[DEFAULT_ORDER[0]]
    return errors.MissingProgram(
        "This pool has no AI program to run a prompt: none of qwen, claude, codex and gemini is on PATH. "
        f"Install one, for example with: {first.install}. Commands run by worker type 'shell': name it with the task, "
        "or with the pool when it is spawned.",
        program=first.needs,
        install=first.install,
    )


def _read_yaml(path: Path) -> dict[object, object]:
    content = read_yaml(path, setting="worker_types_file")
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise errors.InvalidConfig(f"worker_types_file: {path} must map names to worker types.", file=str(path))
    return content


def _parse(path: Path, name: str, fields: object) -> WorkerType:
    if not isinstance(fields, dict):
        raise errors.InvalidConfig(f"{path}: {name} must hold the fields of a worker type, such as argv.", key=name)
    try:
        return WorkerType.model_validate({**fields, "name": name})
    except ValidationError as exc:
        place, problem = refusal(exc)
        key = f"{name}.{place}" if place else name
        allowed = ", ".join(field for field in WorkerType.model_fields if field != "name")
        raise errors.InvalidConfig(f"{path}: {key}: {problem}. The fields are: {allowed}.", key=key) from exc
