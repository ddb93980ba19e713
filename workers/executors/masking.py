"""Replaces secret values in everything a task puts out."""

from __future__ import annotations

import json
from collections.abc import Iterable

from pydantic import JsonValue

#: Stands where a secret was.
MASK = "•••"

#: Shorter values are not masked: they would be found everywhere.
_SHORTEST = 4


class Masker:
    """Replaces every occurrence of the given values, in text, JSON values and streams of bytes."""

    def __init__(self, secrets: Iterable[str]) -> None:
        values = {secret for secret in secrets if len(secret) >= _SHORTEST}
        # A secret with quotes or line ends looks different inside JSON text.
        values |= {json.dumps(value)[1:-1] for value in values} | {
            json.dumps(value, ensure_ascii=False)[1:-1] for value in values
        }
        # The longest first, so that a secret which contains another one goes as a whole.
        self._texts = sorted(values, key=len, reverse=True)
        self._bytes = [value.encode("utf-8", "surrogateescape") for value in self._texts]

    def text(self, text: str) -> str:
        """Return the text without secrets."""
        for value in self._texts:
            text = text.replace(value, MASK)
        return text

    def json(self, value: JsonValue) -> JsonValue:
        """Return the JSON value without secrets, in keys too."""
        if not self._texts:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.json(item) for item in value]
        if isinstance(value, dict):
            return {self.text(key): self.json(item) for key, item in value.items()}
        return value

    def stream(self) -> StreamMasker:
        """Return a masker for one stream of bytes."""
        return StreamMasker(self._bytes)


class StreamMasker:
    """Masks a stream that comes in pieces: what may be the beginning of a secret is held back until the next piece."""

    def __init__(self, secrets: list[bytes]) -> None:
        self._secrets = secrets
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Take a piece and return what can be shown now."""
        if not self._secrets:
            return data
        data = self._masked(self._held + data)
        keep = self._beginning_at_end(data)
        self._held = data[len(data) - keep :]
        return data[: len(data) - keep]

    def close(self) -> bytes:
        """Return what was held back."""
        held, self._held = self._held, b""
        return held

    def _masked(self, data: bytes) -> bytes:
        for secret in self._secrets:
            data = data.replace(secret, MASK.encode())
        return data

    def _beginning_at_end(self, data: bytes) -> int:
        """Return the length of the longest end of ``data`` that is the beginning of a secret."""
        for length in range(min(len(data), len(self._secrets[0]) - 1), 0, -1):
            end = data[-length:]
            if any(len(secret) > length and secret.startswith(end) for secret in self._secrets):
                return length
        return 0
