"""A script carries what it uses of the Lua library, and nothing else."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from mahavishnu_pools.store import calls, keys
from mahavishnu_pools.store.pruning import definitions, pruned, written_out

LIBRARY = """\
-- what every script starts with
local call = redis.call
local MOST, LEAST = 10, 1

-- uses helper
local function first(x)
  -- not second
  return helper(x) + MOST
end
local settle
local function second() return settle(first(1)) end
function settle(x)
  return call('GET', x)
end
local function third() return 3 end
"""

FOLDER = resources.files("mahavishnu_pools.store") / "lua"
SCRIPTS = sorted(entry.name[:-4] for entry in FOLDER.iterdir() if entry.name.endswith(".lua"))


def test_what_is_not_used_is_left_out_and_the_order_stays() -> None:
    assert pruned(definitions(LIBRARY), "return first(2)") == (
        "local MOST, LEAST = 10, 1\n\nlocal function first(x)\n  return helper(x) + MOST\nend\n"
    )


def test_what_is_used_by_what_is_used_stays() -> None:
    text = pruned(definitions(LIBRARY), "return second()")

    assert [name for name in ("call", "first", "settle", "second", "third") if f"{name}(" in text] == [
        "call",
        "first",
        "settle",
        "second",
    ]
    assert text.index("local settle") < text.index("local function second") < text.index("function settle(x)")


def test_a_comment_in_the_body_uses_nothing() -> None:
    assert pruned(definitions(LIBRARY), "-- first\nreturn 1") == ""


def test_calls_are_written_out_with_their_arguments_also_in_one_another() -> None:
    text = "call('DEL', k_one(k_two(string.match(x, '^(.)')) .. ')'), k_none(), my_k_one(1), {k_one, 2})"

    assert written_out(text, "k_", lambda name, argument: f"<{name}:{argument}>") == (
        "call('DEL', <one:<two:string.match(x, '^(.)')> .. ')'>, <none:>, my_k_one(1), {k_one, 2})"
    )


def test_a_call_that_does_not_end_is_refused() -> None:
    with pytest.raises(ValueError, match="is not closed"):
        written_out("k_one(1", "k_", lambda name, argument: "")


@pytest.mark.parametrize("name", [name for name in SCRIPTS if name not in calls.LIBRARIES])
def test_every_name_of_the_library_that_a_script_mentions_is_defined_in_it(name: str) -> None:
    library = keys.lua_functions() + "".join((FOLDER / f"{one}.lua").read_text() for one in calls.LIBRARIES)
    defined = set(re.findall(r"^(?:local )?function (\w+)", library, re.MULTILINE))
    text = calls.script(name).text
    code = re.sub(r"--.*", "", text)

    called = set(re.findall(r"\b(\w+)\(", code)) & defined
    here = set(re.findall(r"^\s*(?:local )?function (\w+)", code, re.MULTILINE))

    assert called <= here
