"""What all tests share. A fixture lives in ``tests/fixtures/``, in the file of the real part it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# How long an example may take says nothing of the code on a machine that has other work, too.
settings.register_profile("without-deadline", deadline=None)
settings.load_profile("without-deadline")

pytest_plugins = [
    "tests.fixtures.agents",
    "tests.fixtures.buses",
    "tests.fixtures.clusters",
    "tests.fixtures.command_line",
    "tests.fixtures.configuration",
    "tests.fixtures.containers",
    "tests.fixtures.local_stack",
    "tests.fixtures.manager",
    "tests.fixtures.store",
    "tests.fixtures.valkey",
    "tests.fixtures.groups",  # uses the module before it
    "tests.fixtures.compose",
    "tests.fixtures.proxies",
    "tests.fixtures.secured",
    "tests.fixtures.served",
]

#: Directories whose modules take long, in the order in which they are begun; all others follow.
LONG = ("chaos", "docs", "examples", "browser", "acceptance", "celery", "integration", "metrics", "fuzz", "store")

#: Modules that run one after another, because they share a stack, which takes longer to start than most tests; by how
#: their paths begin.
ON_ONE_STACK = {
    "tests/acceptance/": "acceptance",
    **{
        f"tests/integration/test_{name}.py": stack
        for stack, names in {
            "one": ("approvals", "cli_discovery", "cli_task_lists", "cli_terminal", "events", "worktree_tasks"),
            "another": (
                *("agent_run_record", "cli_more_commands", "contests", "dependencies", "explained_routing"),
                *("pool_contract", "schedules"),
            ),
        }.items()
        for name in names
    },
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, so that quick modules fill up the end where several run side by side."""
    place = {name: number for number, name in enumerate(LONG)}
    here = Path(__file__).parent
    items.sort(key=lambda item: place.get(item.path.relative_to(here).parts[0], len(place)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep modules together that share a stack, where modules run side by side (``--dist loadfile``)."""
    from xdist.scheduler import LoadFileScheduling

    class ByStack(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            module = nodeid.split("::", 1)[0]
            return next((stack for start, stack in ON_ONE_STACK.items() if module.startswith(start)), module)

    return ByStack(config, log) if config.option.dist == "loadfile" else None
