"""What the project declares is enough: nothing it loads is there only because a test or a tool needs it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]

#: Loads what processes of a stack load, and says which modules that are.
_LOAD = """
import importlib, json, pkgutil, sys
import mahavishnu_pools, mahavishnu_workers
for package in (mahavishnu_pools, mahavishnu_workers):
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
for name in ("kombu.transport.redis", "celery.backends.redis", "celery.apps.worker", "celery.apps.beat",
             "redbeat.schedulers", "flower.command", "kubernetes.aio", "uvicorn", "mcp.server"):
    importlib.import_module(name)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names))))
"""

#: What others look for and do without, and what a package directory has before anything is loaded.
OPTIONAL = {"_distutils_hack", "google", "greenlet", "kubernetes_validate", "importlib_resources"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def required() -> list[str]:
    """Return what the project declares, with all its extras for users."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (extras,) = (Requirement(one).extras for one in project["optional-dependencies"]["all"])
    more = (one for extra in extras for one in project["optional-dependencies"][extra])
    return [*project["dependencies"], *more]


def with_their_own(requirements: Iterable[str], extras: Iterable[str], known: set[tuple[str, str]]) -> set[str]:
    """Return the names of the distributions and of those that come with them."""
    found = set()
    for text in requirements:
        wanted = Requirement(text)
        if wanted.marker and not any(wanted.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            continue
        name = normal(wanted.name)
        found.add(name)
        for extra in ("", *wanted.extras):
            if (name, extra) not in known:
                known.add((name, extra))
                found |= with_their_own(distribution(name).requires or (), [extra], known)
    return found


def test_everything_that_is_loaded_comes_with_what_the_project_declares() -> None:
    done = subprocess.run([sys.executable, "-c", _LOAD], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    ours = with_their_own(required(), (), set()) | {"mahavishnu-pools"}
    providers = packages_distributions()
    strangers = {}
    for module in set(json.loads(done.stdout)) - OPTIONAL:
        owners = {normal(one) for one in providers.get(module, ())}
        if owners and not owners & ours:
            strangers[module] = sorted(owners)
    assert not strangers, f"loaded, but not among the dependencies: {strangers}"
