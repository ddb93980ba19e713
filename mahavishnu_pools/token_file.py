"""A file with bearer tokens, a line each, the newest first; it is read again when it changes."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from mahavishnu_pools import errors

#: Bytes of chance in a token that is made here.
STRENGTH = 32


class TokenFile(Collection[str]):
    """The tokens a file has now. While it cannot be read, those it had last count.

    Raises:
        InvalidField: at the beginning it cannot be read, or is empty.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] | None = None
        self._tokens = read_tokens(path)

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())

    def __contains__(self, token: object) -> bool:
        return token in self._now()

    def _now(self) -> tuple[str, ...]:
        try:
            found = self._path.stat()
            seen = (found.st_mtime_ns, found.st_size, found.st_ino)
            if seen != self._seen:
                self._tokens, self._seen = read_tokens(self._path), seen
        except (OSError, errors.InvalidField):
            # Whoever removes or breaks the file has not said that nobody may come in, or that everybody may.
            return self._tokens
        return self._tokens


def file_named(configured: str) -> Path | None:
    """Return the file that a setting names as ``@FILE``; None: it is a token itself."""
    return Path(configured[1:]).expanduser() if configured.startswith("@") else None


def read_tokens(path: Path) -> tuple[str, ...]:
    """Return the tokens of a file, the newest first.

    Raises:
        InvalidField: it cannot be read, or is empty.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        problem = f"cannot be read ({type(exc).__name__})"
        raise errors.InvalidField.of("token-file", problem, "Name a text file you can read.") from exc
    tokens = tuple(line.strip() for line in lines if line.strip())
    if not tokens:
        raise errors.InvalidField.of("token-file", "is empty", "Write the token into it, or leave the option out.")
    return tokens


def rotate(path: Path) -> None:
    """Put a new token before the one a file has; a file that is missing is made.

    Raises:
        InvalidField: an earlier rotation is not finished, or the file cannot be read or written.
    """
    older = read_tokens(path) if path.exists() else ()
    if len(older) > 1:
        remedy = f"Finish it with: mahavishnu rotate --token-file {path} --finish"
        raise errors.InvalidField.of("rotation", "an earlier one is not finished", remedy)
    _write(path, (secrets.token_urlsafe(STRENGTH), *older))


def finish(path: Path) -> bool:
    """Leave only the newest token in a file; False: it has no older one.

    Raises:
        InvalidField: the file cannot be read or written, or is empty.
    """
    tokens = read_tokens(path)
    if len(tokens) > 1:
        _write(path, tokens[:1])
    return len(tokens) > 1


def _write(path: Path, tokens: tuple[str, ...]) -> None:
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # only its owner may read it
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if path.exists():  # the server may run as another user or group
                before = path.stat()
                os.fchown(descriptor, before.st_uid, before.st_gid)
                os.fchmod(descriptor, before.st_mode & 0o777)
            file.write("".join(f"{token}\n" for token in tokens))
        Path(name).replace(path)
    except OSError as exc:
        remedy = "Name one in a directory you may write to."
        raise errors.InvalidField.of("token-file", f"cannot be written ({exc.strerror})", remedy) from exc
