"""The data plane: what runs tasks. Installed as ``mahavishnu_workers``: a project's own ``workers`` is left alone."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .terminal_manager import TerminalManager as TerminalManager
    from .worker_manager import WorkerManager as WorkerManager

#: Public name: the module it lives in.
_HOMES = {"TerminalManager": "terminal_manager", "WorkerManager": "worker_manager"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
