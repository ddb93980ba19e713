"""What all tests share. A fixture lives in ``tests/fixtures/``, in the file of the real part it starts."""

from __future__ import annotations

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
