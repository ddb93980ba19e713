"""Workers of this process at the import path of the former layout; they are of the data plane, loaded at first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workers.terminal_manager import TerminalManager as TerminalManager
    from workers.worker_manager import WorkerManager as WorkerManager

__all__ = ["TerminalManager", "WorkerManager"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("mahavishnu_workers"), name)
