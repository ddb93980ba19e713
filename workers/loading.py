"""Loads the modules that users name (``imports``, ``celery_app``), and says where they are looked for."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

from mahavishnu_pools import errors


def load_module(name: str, *, setting: str) -> ModuleType:
    """Return a module of the user's; ``setting`` is the one that names it, for errors.

    Raises:
        InvalidConfig: it cannot be imported; the message names it, and the path that counts when it was not found.
    """
    try:
        return importlib.import_module(name)
    # The border of user code: importing a module may raise anything, which is that module's fault.
    except Exception as exc:
        problem = f"{setting}: the module {name!r} cannot be imported ({type(exc).__name__}: {exc})"
        remedy = _where() if isinstance(exc, ModuleNotFoundError) else "Correct the module."
        raise errors.InvalidConfig(f"{problem}. {remedy}", module=name) from exc


def _where() -> str:
    path = os.environ.get("PYTHONPATH")
    told = f"was {path}" if path else "was not set"
    return (
        f"Workers have the PYTHONPATH of the program that started their agent, which {told}; that of other commands "
        "does not count. Install the module there, or start the agent again with its directory in PYTHONPATH "
        "(local stack: 'mahavishnu down', then 'PYTHONPATH=DIRECTORY mahavishnu up')."
    )
