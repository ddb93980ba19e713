"""How the variables of a container reach it: never on a command line, which everybody on the machine can read.

docker and podman take a variable that is named without a value from their own environment. Names that mean something to
them (where the engine is, what to preload) go through a file instead, which only its owner can read.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mahavishnu_pools.schemas.container import is_variable

from .interface import Refused

#: Names that docker, podman, what they start and the loader of programs read themselves.
_READ_BY_ENGINES = re.compile(
    r"(?i)(LD_|DYLD_|DOCKER_|CONTAINER|_CONTAINER|PODMAN|BUILDAH|STORAGE_|REGISTRY_|XDG_|GO|SSL_CERT_|SSH_|DBUS_|OCI_"
    r"|NOTIFY_|LISTEN_|KUBE|GLIBC_|MALLOC_|LIBC_|HTTP_PROXY|HTTPS_PROXY|NO_PROXY|TMPDIR$|CONMON|CRUN|RUNC|OTEL_|BUILDKIT).*"
)

#: docker reads its file line by line and gives up at longer ones (bytes).
_LONGEST_LINE = 60_000


@dataclass(frozen=True, slots=True)
class Variables:
    """Variables of a container: those its program has in its own environment, and the file with the others, if any."""

    inherited: Mapping[str, str]
    file: Path | None


@contextlib.contextmanager
def handed_over(variables: Mapping[str, str], *, engine_env: Mapping[str, str]) -> Iterator[Variables]:
    """Give the variables in the form in which the program takes them; the file is gone afterwards.

    Raises:
        Refused: a name cannot be used, or a value cannot be handed over.
    """
    bad = next((name for name in variables if not is_variable(name)), None)
    if bad is not None:
        raise Refused(f"env: {bad!r} cannot be the name of a variable in a container. Use letters, digits and _.")
    apart = {name: value for name, value in variables.items() if name in engine_env or _READ_BY_ENGINES.match(name)}
    inherited = {name: value for name, value in variables.items() if name not in apart}
    if not apart:
        yield Variables(inherited, None)
        return
    lines = [_line(name, value) for name, value in apart.items()]
    # Made with mode 0600.
    handle, path = tempfile.mkstemp(prefix="mahavishnu-env-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.writelines(lines)
        yield Variables(inherited, Path(path))
    finally:
        os.unlink(path)


def _line(name: str, value: str) -> str:
    if "\n" in value or "\r" in value or len(value.encode("utf-8", "surrogateescape")) > _LONGEST_LINE:
        raise Refused(
            f"env: {name} has a value of several lines, or a very long one, and docker and podman read a variable of "
            "this name themselves. Give it another name."
        )
    return f"{name}={value}\n"
