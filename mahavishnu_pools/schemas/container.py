"""Values about containers: what one is given, and what it may use."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from mahavishnu_pools.schemas.base import Value

#: An image reference: host and port, path, tag, digest. A transport such as ``oci:/path``, which reads files of the
#: host, is none, and neither is an option of the command line.
_IMAGE = re.compile(
    r"(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::\d+)?/)?"
    r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)

#: What a variable of a container may be called; some images take names with dots.
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")

#: What would end a field or the line in the form in which mounts are given to the command line.
_UNMOUNTABLE = frozenset(',"\n\r\0')


def is_image(value: object) -> bool:
    """Tell whether this is written like an image reference."""
    return isinstance(value, str) and len(value) <= 500 and bool(_IMAGE.fullmatch(value))


def _is_image(value: str) -> str:
    if not is_image(value):
        raise ValueError("must be an image reference such as python:3.13-slim or registry.example.org:5000/team/app:1")
    return value


def _is_plain(value: str) -> str:
    if "\0" in value:
        raise ValueError("holds a NUL character")
    return value


def _is_absolute(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError("must be an absolute path in the container")
    return _is_plain(value)


def _is_mountable(value: str) -> str:
    if not value or _UNMOUNTABLE & set(value):
        raise ValueError("must not be empty, nor hold a comma, a double quote, a line end or a NUL character")
    return value


Image = Annotated[str, AfterValidator(_is_image)]
_Path = Annotated[str, AfterValidator(_is_absolute)]
_Text = Annotated[str, StringConstraints(min_length=1), AfterValidator(_is_plain)]


class Mount(Value):
    """A file or directory of the machine in the container; as text ``source:target`` or ``source:target:rw``.

    A relative source is below the task's directory.
    """

    source: Annotated[str, AfterValidator(_is_mountable)]
    target: Annotated[str, AfterValidator(_is_absolute), AfterValidator(_is_mountable)]
    read_only: bool = True

    @model_validator(mode="before")
    @classmethod
    def _may_be_text(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        source, _, rest = value.partition(":")
        target, _, mode = rest.partition(":")
        if mode not in ("", "ro", "rw"):
            raise ValueError("must be source:target, source:target:ro or source:target:rw")
        return {"source": source, "target": target, "read_only": mode != "rw"}


class ContainerOptions(Value):
    """What a container may see and use; None leaves it to the image or the engine.

    ``cpu`` is a number of processors, ``memory`` bytes or a text such as ``512m``. Without a ``network`` named there is
    none. ``read_only`` makes the image's files unchangeable. ``init`` has a small first process pass signals on.
    """

    mounts: tuple[Mount, ...] = ()
    cpu: float | None = Field(default=None, ge=0.01, le=4096, allow_inf_nan=False)
    memory: str | None = Field(default=None, pattern=r"^[0-9]+(\.[0-9]+)?[bkmg]?$")
    network: str = Field(default="none", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    read_only: bool = False
    workdir: _Path | None = None
    user: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?$")
    entrypoint: _Text | None = None
    pull: Literal["missing", "always", "never"] = "missing"
    init: bool = False

    @field_validator("memory", mode="before")
    @classmethod
    def _memory_may_be_a_number(cls, value: object) -> object:
        if isinstance(value, str):
            return value.lower()
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class WorkerContainer(ContainerOptions):
    """The container in which a worker type runs its command; without an ``image`` the pool must name one.

    The task's directory is mounted at its own path, writable, and is where the command begins.
    """

    image: Image | None = None


class ContainerPayload(ContainerOptions):
    """A command in a container: a list is the argv; a text is split as a shell does, or given to ``sh -c``.

    Without a command the image's own is run. ``env`` is added to the task's.
    """

    image: Image
    command: str | list[Annotated[str, AfterValidator(_is_plain)]] | None = None
    shell: bool = False
    env: dict[str, str] = Field(default_factory=dict)

    @field_validator("env")
    @classmethod
    def _names_are_usable(cls, value: dict[str, str]) -> dict[str, str]:
        bad = next((name for name in value if not is_variable(name)), None)
        if bad is not None:
            raise ValueError(f"{bad!r} cannot be the name of a variable")
        return value

    @model_validator(mode="after")
    def _says_how_to_run(self) -> ContainerPayload:
        given = self.command
        if given is not None and (not given.strip() if isinstance(given, str) else not given):
            raise ValueError("command must not be empty; leave it out to run the image's own")
        if self.shell and not isinstance(given, str):
            raise ValueError("shell: true needs the command as one text")
        return self


def is_variable(name: str) -> bool:
    """Tell whether a container may have a variable of this name."""
    return bool(_VARIABLE.fullmatch(name))
