"""Names and labels of objects in a cluster, made of whatever people call their pools and tasks. Pure."""

from __future__ import annotations

import hashlib
import re

from mahavishnu_pools.schemas.kubernetes_text import LONGEST_NAME, is_label_value

#: Hexadecimal digits that keep shortened names apart.
_DIGITS = 10


def object_name(*parts: str, longest: int = LONGEST_NAME) -> str:
    """Return a DNS label of some texts joined by ``-``.

    The same texts always give the same name. What does not fit as it is leaves its readable part, and a hash of the
    texts keeps it apart from others.
    """
    whole = "-".join(parts)
    if len(whole) <= longest and re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", whole):
        return whole
    readable = re.sub(r"[^a-z0-9]+", "-", whole.lower()).lstrip("-0123456789")
    return f"{_cut(readable or 'x', longest)}-{_hash(parts)}"


def label_value(text: str) -> str:
    """Return a text as the value of a label: unchanged where it may be one, else readable and with a hash."""
    if is_label_value(text):
        return text
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("._-")
    return f"{_cut(readable or 'x', LONGEST_NAME)}-{_hash((text,))}"


def _cut(readable: str, longest: int) -> str:
    return readable[: longest - _DIGITS - 1].rstrip("._-") or "x"


def _hash(parts: tuple[str, ...]) -> str:
    # Lengths are part of it: ("a-b", "c") and ("a", "b-c") are two things.
    text = "\n".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.blake2s(text.encode("utf-8", "surrogatepass"), digest_size=_DIGITS // 2).hexdigest()
