"""TerminalManager at the import path of the former layout; it is of the data plane and loaded at first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workers.terminal_manager import TerminalManager as TerminalManager

__all__ = ["TerminalManager"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("mahavishnu_workers"), name)
