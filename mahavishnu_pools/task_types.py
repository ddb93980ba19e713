"""Task types: what a task_type and its payload mean, as far as a client must know to refuse bad input at submit.

The handlers of the built-in types are on the worker side. Users describe their own types with the decorator
``task_type`` in a module that worker groups import (setting ``imports``), or that an entry point of the group
``mahavishnu_pools.task_types`` names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator, model_validator

from mahavishnu_pools import errors
from mahavishnu_pools.refusals import invalid_field
from mahavishnu_pools.schemas.base import Value
from mahavishnu_pools.schemas.batch_payloads import JUDGE, JUDGE_CALL, JudgeCallPayload, JudgePayload
from mahavishnu_pools.schemas.batch_payloads import ReducePayload as ReducePayload
from mahavishnu_pools.schemas.container import ContainerPayload
from mahavishnu_pools.schemas.task import TaskResult, TaskSpec

#: Entry points of this group name TaskType objects (or modules that hold some).
ENTRY_POINT_GROUP = "mahavishnu_pools.task_types"

#: How a handler works: it returns a command, returns a prompt, runs in the worker's thread, or runs in a child process.
Mode = Literal["command", "prompt", "call", "process"]

#: A reducer of the user's own is a task type whose name begins so.
REDUCER_PREFIX = "reduce:"

_URL = re.compile(r"(?i)https?://[^/\s]")
_CALLABLE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class TaskType:
    """One task type: its name, the model of its payload, how its handler works, and the handler.

    Calling it calls the handler, so a decorated function can still be used and tested directly.
    """

    name: str
    payload: type[BaseModel]
    mode: Mode
    handler: Callable[..., Any]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the handler."""
        return self.handler(*args, **kwargs)


def task_type(name: str, *, payload: type[BaseModel], mode: Mode = "call") -> Callable[[Callable[..., Any]], TaskType]:
    """Make a function the handler of a task type.

    What the function gets and returns depends on ``mode``. ``prompt``: (payload) to the prompt's text. ``command``:
    (payload) to an argv list. ``call``: (payload, context) to a JSON value, in the worker's thread; an ``async def``
    is ended at the timeout, a plain function must look at ``context.cancellation`` itself. ``process``: (payload) to a
    JSON value, in a child process of its own, which timeout and cancel end; right for work that needs the CPU.

    Raises:
        InvalidField: the name is empty or longer than 100 characters.
    """
    if not 0 < len(name) <= 100:
        raise errors.InvalidField.of("name", "must have 1 to 100 characters", "Give the task type a short name.")

    def decorate(handler: Callable[..., Any]) -> TaskType:
        return TaskType(name=name, payload=payload, mode=mode, handler=handler)

    return decorate


def reducer(name: str) -> Callable[[Callable[[Sequence[TaskResult]], JsonValue]], TaskType]:
    """Make a function a reducer for ``map_reduce``: the results of all parts, in input order, to one JSON value.

    Parts that failed are among them (``result.ok`` is False). Worker groups load it as they load task types. It runs
    in the worker's thread and cannot be ended from outside.

    Raises:
        InvalidField: the name is empty or longer than 80 characters.
    """
    if not 0 < len(name) <= 80:
        raise errors.InvalidField.of("name", "must have 1 to 80 characters", "Give the reducer a short name.")

    def decorate(function: Callable[[Sequence[TaskResult]], JsonValue]) -> TaskType:
        def handle(payload: ReducePayload, context: Any) -> JsonValue:
            return function(context.services["batch_reader"](payload.batch_id))

        return TaskType(name=REDUCER_PREFIX + name, payload=ReducePayload, mode="call", handler=handle)

    return decorate


# ── payloads of the built-in types ───────────────────────────────────────────────────────────────────────────────────


class PromptPayload(Value):
    """A text for an AI program, or a command line on worker type ``shell``."""

    prompt: str = Field(min_length=1)

    @field_validator("prompt")
    @classmethod
    def _is_not_blank(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("must not be blank")
        return value


class ShellPayload(Value):
    """A command: a list is the argv; a text is split as a shell does, or given to ``sh -c`` with ``shell``."""

    command: str | list[str]
    shell: bool = False

    @model_validator(mode="after")
    def _says_what_to_run(self) -> ShellPayload:
        empty = not self.command.strip() if isinstance(self.command, str) else not self.command or not self.command[0]
        if empty:
            raise ValueError("command must not be empty")
        if self.shell and not isinstance(self.command, str):
            raise ValueError("shell: true needs the command as one text")
        return self


class PythonPayload(Value):
    """A function ``module:function`` the worker allows (setting ``python_callables``), with JSON arguments."""

    callable: str
    args: list[JsonValue] = Field(default_factory=list)
    kwargs: dict[str, JsonValue] = Field(default_factory=dict)

    @field_validator("callable")
    @classmethod
    def _is_a_reference(cls, value: str) -> str:
        if not _CALLABLE.fullmatch(value):
            raise ValueError("must be written module:function")
        return value


class HttpPayload(Value):
    """One HTTP request; of the answer at most ``max_bytes`` are kept.

    ``timeout`` limits each wait for the server in seconds; None leaves it to the task's timeout.
    ``${NAME}`` in a header stands for the secret NAME, which the task must list in ``secrets``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    url: str
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] = "GET"
    headers: dict[str, str] = Field(default_factory=dict)
    json_body: JsonValue = Field(default=None, alias="json")
    body: str | None = None
    timeout: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    max_bytes: int = Field(default=1024 * 1024, ge=1, le=64 * 1024 * 1024)

    @field_validator("url")
    @classmethod
    def _url_is_one(cls, value: str) -> str:
        if not _URL.match(value):
            raise ValueError("must begin with http:// or https:// and a host")
        return value

    @field_validator("method", mode="before")
    @classmethod
    def _method_in_capitals(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _has_one_body(self) -> HttpPayload:
        if self.body is not None and self.json_body is not None:
            raise ValueError("give either json or body, not both")
        return self


class AnalyzePayload(Value):
    """Files for static analysis with ruff: ``file``, ``files``, or ``path`` (a file, or a directory with all below it).

    ``rules`` replaces the default rule set; ``use_project_config`` takes the rules the project has configured.
    """

    file: str | None = None
    files: list[str] | None = Field(default=None, min_length=1)
    path: str | None = None
    rules: tuple[str, ...] | None = None
    use_project_config: bool = False

    @model_validator(mode="after")
    def _names_its_input_once(self) -> AnalyzePayload:
        if sum(given is not None for given in (self.file, self.files, self.path)) != 1:
            raise ValueError("give one of file, files and path")
        if any(not name or "\0" in name for name in (self.file, self.path, *(self.files or ())) if name is not None):
            raise ValueError("a file name is empty or holds a NUL character")
        if any(not re.fullmatch(r"[A-Z]+[0-9]*", rule) for rule in self.rules or ()):
            raise ValueError("rules must be ruff rule codes or prefixes, such as F401 or B")
        return self


#: Payload models of the task types that exist without any configuration.
BUILT_IN: Mapping[str, type[BaseModel]] = MappingProxyType(
    {
        "prompt": PromptPayload,
        "shell": ShellPayload,
        "container": ContainerPayload,
        "python": PythonPayload,
        "http": HttpPayload,
        "analyze": AnalyzePayload,
        "reduce": ReducePayload,
        JUDGE: JudgePayload,
        JUDGE_CALL: JudgeCallPayload,
    }
)


# ── validation when a task is submitted ──────────────────────────────────────────────────────────────────────────────


def validate_payload(
    spec: TaskSpec, *, known: Mapping[str, Mapping[str, Any] | None] | None = None, ai: bool = False
) -> None:
    """Refuse a task whose type or payload no worker could use.

    ``known`` maps further registered task types to the JSON schema of their payload (None: any payload will do). With
    ``ai`` the task goes to an AI worker type, where an unregistered type becomes a prompt.

    Raises:
        UnknownChoice: the task type is not registered; the message lists those that are.
        InvalidField: the payload does not fit; the message names the field.
    """
    known = known or {}
    if spec.task_type in known:
        _check_schema(spec.payload, schema=known[spec.task_type])
    elif spec.task_type in BUILT_IN:
        parse_payload(BUILT_IN[spec.task_type], payload=payload_of(spec))
    elif not ai:
        raise errors.UnknownChoice.of("task type", spec.task_type, [*BUILT_IN, *known])


def payload_of(spec: TaskSpec) -> dict[str, Any]:
    """Return the payload; a prompt given as a field counts as one."""
    if spec.task_type == "prompt" and spec.prompt is not None:
        return {**spec.payload, "prompt": spec.prompt}
    return dict(spec.payload)


def parse_payload(model: type[Model], *, payload: Mapping[str, Any]) -> Model:
    """Return the payload as its model.

    Raises:
        InvalidField: it does not fit; the message names the first field that is wrong and those that exist.
    """
    try:
        return model.model_validate(dict(payload))
    except ValidationError as exc:
        raise invalid_field(exc, inside="payload", remedy=f"The fields are: {_fields(model)}.") from exc


def _fields(model: type[BaseModel]) -> str:
    return ", ".join(field.alias or name for name, field in model.model_fields.items()) or "none"


def _check_schema(payload: Mapping[str, Any], *, schema: Mapping[str, Any] | None) -> None:
    """Check what can be said without the model itself: the worker checks the rest before it runs the handler."""
    if schema is None:
        return
    properties: Mapping[str, Any] = schema.get("properties") or {}
    remedy = f"The fields are: {', '.join(properties) or 'none'}."
    for name in schema.get("required") or ():
        if name not in payload:
            raise errors.InvalidField.of(f"payload.{name}", "is missing", remedy)
    for name, value in payload.items():
        if name not in properties and schema.get("additionalProperties") is False:
            raise errors.InvalidField.of(f"payload.{name}", "is unknown", remedy)
        wanted = (properties.get(name) or {}).get("type")
        if isinstance(wanted, str) and not _is_json_type(value, wanted=wanted):
            raise errors.InvalidField.of(f"payload.{name}", f"must be of JSON type {wanted}", remedy)


def _is_json_type(value: Any, *, wanted: str) -> bool:
    # Models read numbers and truth values from texts too, so only what can never fit is refused here.
    python: dict[str, tuple[type, ...]] = {
        "string": (str,),
        "integer": (int, float, str),
        "number": (int, float, str),
        "boolean": (bool, int, str),
        "array": (list,),
        "object": (dict,),
        "null": (type(None),),
    }
    return wanted not in python or isinstance(value, python[wanted])
