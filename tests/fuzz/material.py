"""What hostile input is made of."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

#: Every input must be answered within this time, also on a busy machine.
DEADLINE = timedelta(seconds=30)

#: Settings of all fuzz tests: the same examples in each run, so that a failure is one of this change.
fuzz = settings(
    max_examples=200,
    deadline=DEADLINE,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

#: Text with characters that are trouble somewhere: lone surrogates, NUL, controls, separators.
texts = st.text(st.characters(), max_size=40) | st.sampled_from(
    [
        "",
        "\0",
        "\ud800",
        "\x06\x16",
        "\n",
        "..",
        "/",
        "~nobody-here/x",
        "@",
        "-",
        "__class__",
        "💥" * 20,
        "1e999",
        "NaN",
    ]
)

numbers = st.integers() | st.floats() | st.sampled_from([10**400, -(10**400), 1e308, float("nan"), float("inf")])

#: Anything JSON can say, and more that Python's parser lets through.
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)

#: JSON nested deeper than parsers like.
deep = st.integers(1, 100_000).flatmap(
    lambda depth: st.sampled_from(["[" * depth, "[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth])
)


def dumped(value: Any) -> str:
    """Return JSON of a value, with what only Python writes (NaN)."""
    return json.dumps(value)


#: JSON text, nearly JSON, and no JSON at all.
json_texts = values.map(dumped) | deep | texts | st.text(alphabet='{}[]",:0123456789eE+-.tfn\\u ', max_size=60)


def mapping_of(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    """Return dicts that have some of the names, and some others."""
    keys = st.sampled_from(names) | texts
    return st.dictionaries(keys, values, max_size=8)


def is_json(value: Any) -> bool:
    """Tell whether a value can be written as JSON that every reader takes."""
    json.dumps(value, allow_nan=False).encode()
    return True
