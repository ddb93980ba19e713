"""What a model says of a value it refuses, in words of this project instead of the library's. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mahavishnu_pools import errors

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

#: Parts of a place that name a branch of a union, which is nothing the caller wrote.
_BRANCH = re.compile(r"(?:str|int|float|bool|none|json-.*|(?:list|dict|tuple|function-\w+|constrained-\w+)\W.*)")

#: What is said of a kind of refusal; ``{…}`` are the limits the library gives with it.
_PROBLEMS = {
    "missing": "is missing",
    "extra_forbidden": "is unknown",
    "string_type": "must be a text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "is too large a number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "none_required": "must be left out",
    "path_type": "must be a path",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be {le} or less",
    "literal_error": "must be one of {expected}",
    "enum": "must be one of {expected}",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must have at least {min_length} characters",
    "too_short": "must have at least {min_length} elements",
    "too_long": "must have at most {max_length} elements",
    "string_pattern_mismatch": "must match the pattern {pattern}",
}

_EMPTY = frozenset({"string_too_short", "too_short"})


def refusal(exc: ValidationError) -> tuple[str, str]:
    """Return the place of the first refused value, with dots (empty: the whole), and what is wrong with it."""
    found = exc.errors(include_url=False, include_input=False)
    place = _place(found[0])
    problems = list(dict.fromkeys(_problem(one) for one in found if _place(one) == place))
    return place, problems[0] + "".join(f" or {one.removeprefix('must be ')}" for one in problems[1:])


def invalid_field(exc: ValidationError, *, remedy: str, inside: str = "") -> errors.InvalidField:
    """Return the error for a refused value; ``inside`` is the place of the whole (empty: none)."""
    place, problem = refusal(exc)
    field = ".".join(part for part in (inside, place) if part)
    if field:
        return errors.InvalidField.of(field, problem, remedy)
    first = problem.split()[0]
    text = problem if "_" in first else first.capitalize() + problem[len(first) :]
    return errors.InvalidField(f"{text}. {remedy}", field=None)


def renamed(message: str, name_of: Callable[[str], str | None]) -> str:
    """Return a message with arguments named as its reader knows them; ``name_of`` gives None for what is none.

    Arguments are the field at its beginning, words such as ``split_on``, and any word before ``=``.
    """

    def other(found: re.Match[str]) -> str:
        word, value = found["word"], found["value"]
        name = name_of(word) if "_" in word or value is not None else None
        if name is None:
            return found.group()
        return f"{name} {value}" if value else name

    field = re.match(r"(?P<name>\w+)(?:\.(?P<rest>\S+))?: ", message)
    if field is None or (name := name_of(field["name"])) is None:
        return _WORD.sub(other, message)
    rest = f"{field['rest']} " if field["rest"] else ""
    return f"{name}: {rest}{_WORD.sub(other, message[field.end() :])}"


_WORD = re.compile(r"(?<![\w./'\"-])(?P<word>[a-z]\w*)(?:=(?P<value>(?:[\w'](?:[\w.'-]*[\w'])?)?))?(?![\w'\"])")


def _place(one: ErrorDetails) -> str:
    loc = [str(part) for part in one["loc"]]
    while len(loc) > 1 and _BRANCH.fullmatch(loc[-1]):
        loc.pop()
    return ".".join(loc)


def _problem(one: ErrorDetails) -> str:
    limits: Mapping[str, Any] = one.get("ctx", {})
    if one["type"] in _EMPTY and limits.get("min_length") == 1:
        return "must not be empty"
    if one["type"] in _PROBLEMS:
        given = {name: f"{limit:.15g}" if isinstance(limit, float) else limit for name, limit in limits.items()}
        return _PROBLEMS[one["type"]].format(**given)
    message = str(one["msg"]).removeprefix("Value error, ").rstrip(".")
    return message.replace("Input should be", "must be").replace("Input should", "must")
