"""A prompt without a worker type is routed to no pool that would run it as a command, unless that is asked for."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from mahavishnu_pools.routing.eligibility import Need, PoolFilter, View, sift
from mahavishnu_pools.worker_types import BUILT_IN, WorkerType
from tests.unit.test_routing_eligibility import PROMPT, pool, view

OWN = WorkerType(name="own", argv=("own", "{prompt}"), prompt_via="argument", ai=False)

WHY = (
    "its worker type shell would run the prompt as a command (if that is meant, name the pool or the worker type shell)"
)


@pytest.mark.parametrize("need", [PROMPT, Need("judge"), Need("prompt", worktree=True)])
def test_a_prompt_is_left_to_programs_that_understand_prose(need: Need) -> None:
    sifted = sift(view(pool("sh", worker_type="shell"), pool("ai")), need)

    assert (sifted.candidates, sifted.keep, sifted.reasons) == (("pool_ai",), ("pool_ai",), {"sh": WHY})


@pytest.mark.parametrize("name", ["container", "own"])
def test_every_worker_type_that_is_no_ai_program_is_left_out(name: str) -> None:
    seen = view(pool("p", worker_type=name))
    known = View(seen.version, seen.pools, seen.nodes, MappingProxyType({**BUILT_IN, "own": OWN}))

    assert f"worker type {name} would run" in sift(known, PROMPT).reasons["p"]


def test_whoever_names_the_worker_type_or_the_pool_has_it_run_there() -> None:
    seen = view(pool("sh", worker_type="shell"), pool("ai"))

    assert sift(seen, Need("prompt", worker_type="shell")).candidates == ("pool_sh", "pool_ai")
    assert sift(seen, PROMPT, filters=PoolFilter(worker_type="shell")).candidates == ("pool_sh",)
    assert sift(seen, PROMPT, only=["pool_sh"]).candidates == ("pool_sh",)
    assert sift(seen, PROMPT, filters=PoolFilter(region="default")).candidates == ("pool_ai",)


@pytest.mark.parametrize(
    "need", [Need("shell"), Need("analyze"), Need("judge:python"), Need("prompt", celery=True), Need("reduce:x")]
)
def test_what_is_no_prompt_is_not_held_off(need: Need) -> None:
    assert "as a command" not in sift(view(pool("sh", worker_type="shell")), need).reasons.get("sh", "")


@pytest.mark.parametrize("kind", ["session-buddy", "mahavishnu-remote"])
def test_pools_that_delegate_are_judged_where_they_delegate_to(kind: str) -> None:
    delegating = pool("far", worker_type=None, pool_type=kind, endpoint="http://127.0.0.1:1/mcp")

    assert sift(view(delegating), PROMPT).candidates == ("pool_far",)


def test_a_prompt_is_not_routed_where_it_would_wait_for_a_login() -> None:
    seen = view(pool("a"), pool("b", worker_type="terminal-qwen"))
    node = seen.nodes[0].model_copy(update={"logged_out": {"terminal-claude": "run 'claude'"}})
    sifted = sift(replace(seen, nodes=(node,)), PROMPT)

    assert (sifted.candidates, sifted.keep) == (("pool_b",), ("pool_a", "pool_b"))
    assert sifted.reasons == {"a": "its prompts wait for a login on node n: run 'claude'"}
    assert sift(replace(seen, nodes=(node,)), Need("shell")).reasons == {}
    assert "a" in sift(replace(seen, nodes=(node,)), Need("prompt", worker_type="terminal-claude")).reasons


def test_one_node_with_a_login_is_enough() -> None:
    one = pool("a")
    both = replace(one, assigned=("n", "m"))
    node = view(one).nodes[0]
    out = node.model_copy(update={"name": "m", "logged_out": {"terminal-claude": "no"}})

    assert sift(View(1, (both,), (node, out)), PROMPT).candidates == ("pool_a",)
