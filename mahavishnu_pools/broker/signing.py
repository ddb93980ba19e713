"""Signatures of task messages, so that who can write to Redis cannot have commands run on the workers.

HMAC-SHA256 (RFC 2104) over the body and all headers, in a header of its own. With a key set, worker groups run only
what was signed with it. The keys are a comma-separated list: the first one signs, all are accepted, so that a new key
can come before an old one goes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mahavishnu_pools.settings import Settings

#: The header that holds the signature.
HEADER = "mahavishnu_signature"


class Signer:
    """Signs and checks messages; ``keys`` must not be empty."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = tuple(keys)

    @classmethod
    def from_settings(cls, settings: Settings) -> Signer | None:
        """Return the signer with the keys in the settings, None when there are none."""
        given = settings.message_signing_key
        keys = [key.strip().encode() for key in given.get_secret_value().split(",")] if given else []
        return cls(keys) if keys else None

    def sign(self, body: str, headers: Mapping[str, Any]) -> str:
        """Return the signature of a message: ``body`` as it is sent (base64 text), ``headers`` as JSON data."""
        return _signature(self._keys[0], _content(body, headers))

    def accepts(self, message: Mapping[str, Any]) -> bool:
        """Tell whether a message was signed with one of the keys, and is unchanged."""
        headers, body = message.get("headers"), message.get("body")
        given = headers.get(HEADER) if isinstance(headers, Mapping) else None
        if not isinstance(given, str) or not given.isascii() or not isinstance(body, str):
            return False
        content = _content(body, message["headers"])
        return any(hmac.compare_digest(_signature(key, content), given) for key in self._keys)


def _content(body: str, headers: Mapping[str, Any]) -> bytes:
    signed = {name: value for name, value in headers.items() if name != HEADER}
    return json.dumps([body, signed], sort_keys=True, separators=(",", ":")).encode()


def _signature(key: bytes, content: bytes) -> str:
    return hmac.new(key, content, hashlib.sha256).hexdigest()
