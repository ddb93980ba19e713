"""What people type into a search, and filters, as an expression of SQLite's full-text search."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from hashlib import blake2b

from pydantic import AwareDatetime, Field, JsonValue

from mahavishnu_pools.schemas.base import Value

#: Terms of a query that are looked at; SQLite refuses expressions deeper than 256.
MAX_TERMS = 50

#: Characters of a query that are looked at.
MAX_QUERY = 4000

#: An expression that no record matches.
NOTHING = None

_TERM = re.compile(r'"([^"]*)"|(\S+)')


class Filters(Value):
    """What a hit must have besides the query's words. None: anything.

    ``since`` is included, ``until`` is not. The others, and each entry of ``metadata``, must equal the record's
    metadata of that name as JSON (``1`` and ``"1"`` differ).
    """

    pool_id: str | None = None
    pool_type: str | None = None
    status: str | None = None
    task_id: str | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    metadata: Mapping[str, JsonValue] = Field(default_factory=dict)

    def wanted(self) -> dict[str, JsonValue]:
        """Return the metadata a hit must have."""
        named = {name: getattr(self, name) for name in ("pool_id", "pool_type", "status", "task_id")}
        return {**self.metadata, **{name: value for name, value in named.items() if value is not None}}


def marks(metadata: Mapping[str, JsonValue]) -> str:
    """Return the words under which a record's metadata are found: one per entry, made of its name and value."""
    return " ".join(_mark(name, value) for name, value in metadata.items())


def clean(text: str) -> str:
    """Return the text without what SQLite cannot store as UTF-8 or would cut at (lone surrogates, NUL)."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8")


def match_expression(query: str, *, wanted: Mapping[str, JsonValue]) -> str | None:
    """Return the expression for the query and the wanted metadata; "" matches all, None matches nothing.

    Words must all be there, in any order; ``"several words"`` must stand together; ``word*`` is the beginning of one.
    Everything else is plain text: no character of a query is ever an error.
    """
    text = clean(query[:MAX_QUERY])
    terms = _terms(text)
    if text.strip() and not terms:
        return NOTHING
    return " AND ".join((*terms, *(f'marks : "{_mark(name, value)}"' for name, value in wanted.items())))


def _terms(text: str) -> list[str]:
    terms: list[str] = []
    for phrase, word in _TERM.findall(text):
        for part in _parts(phrase, word):
            if len(terms) < MAX_TERMS and _has_token(part):
                terms.append(_term(part, prefix=not phrase and part.endswith("*")))
    return terms


def _parts(phrase: str, word: str) -> Iterable[str]:
    """Split a word at quotes that have no partner; a phrase stays whole."""
    return (phrase,) if phrase else word.split('"')


def _term(text: str, *, prefix: bool) -> str:
    return f'content : "{text}"{" *" if prefix else ""}'


def _has_token(text: str) -> bool:
    """Tell whether SQLite's tokenizer finds a word in it: letters, digits and private characters make words."""
    return any(unicodedata.category(char)[0] in "LN" or unicodedata.category(char) == "Co" for char in text)


def _mark(name: str, value: JsonValue) -> str:
    told = json.dumps([name, value], sort_keys=True, separators=(",", ":"))
    return "m" + blake2b(told.encode(), digest_size=8).hexdigest()
