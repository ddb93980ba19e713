"""Which worker type a pool gets on a node."""

from __future__ import annotations

from typing import Any

import pytest

from mahavishnu_pools.schemas.pool import PoolConfig
from mahavishnu_pools.settings import Settings
from workers.agent.node import AgentIdentity, NodeFacts


def worker_type_of(config: PoolConfig, **settings: Any) -> str | None:
    return NodeFacts(Settings(**settings), "n", AgentIdentity(1, 1.0, "me")).worker_type(config)


@pytest.mark.parametrize(
    ("named", "default", "expected"),
    [
        ("terminal-claude", "shell", "terminal-claude"),
        (None, "shell", "shell"),
        (None, None, "terminal-qwen"),
    ],
)
def test_prompts_of_jobs_run_by_the_pool_s_worker_type_else_the_default_else_qwen_wherever_that_is_installed(
    monkeypatch: pytest.MonkeyPatch, named: str | None, default: str | None, expected: str
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    config = PoolConfig(name="p", pool_type="kubernetes", worker_type=named)

    assert worker_type_of(config, default_worker_type=default) == expected


def test_a_pool_that_delegates_has_no_worker_type_of_its_own() -> None:
    assert worker_type_of(PoolConfig(name="p", pool_type="session-buddy"), default_worker_type="shell") is None
