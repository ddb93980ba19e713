"""The task types a worker knows: the built-in ones, those of entry points, those of modules the user has it load."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import logging
import os
import sys
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType, ModuleType
from typing import Any

from mahavishnu_pools import errors
from mahavishnu_pools.task_types import ENTRY_POINT_GROUP, TaskType

from . import analyze, container, http, judge, prompt, python, reduce, shell

logger = logging.getLogger(__name__)

_BUILT_IN_MODULES = (prompt, shell, container, python, http, analyze, reduce, judge)


class TaskTypeRegistry:
    """Task types by name; frozen."""

    def __init__(self, types: Iterable[TaskType]) -> None:
        self._types: Mapping[str, TaskType] = MappingProxyType({task_type.name: task_type for task_type in types})

    def get(self, name: str) -> TaskType | None:
        """Return the task type of this name, or None."""
        return self._types.get(name)

    def names(self) -> list[str]:
        """Return the names of all task types, sorted."""
        return sorted(self._types)

    def schemas(self, *, without: Collection[str] = ()) -> dict[str, dict[str, Any]]:
        """Return the JSON schema of each type's payload, as agents publish them for validation at submit.

        ``without`` names types that need none: making one takes about a millisecond.
        """
        return {name: self._types[name].payload.model_json_schema() for name in self.names() if name not in without}


@functools.cache
def default_registry() -> TaskTypeRegistry:
    """Return the built-in task types and those of entry points."""
    return load_registry()


def load_registry(imports: Iterable[str] = ()) -> TaskTypeRegistry:
    """Return the task types of this installation and of the user's modules; later ones win over earlier ones.

    Raises:
        InvalidConfig: a module cannot be imported; the message names it.
    """
    types = [found for module in _BUILT_IN_MODULES for found in types_in(module)]
    types += _from_entry_points()
    for name in imports:
        types += types_in(_import(name))
    return TaskTypeRegistry(types)


def types_in(module: ModuleType) -> list[TaskType]:
    """Return the task types a module defines or imports by name.

    Raises:
        InvalidConfig: a type that runs in a child process cannot be found there by its name.
    """
    found = [value for value in vars(module).values() if isinstance(value, TaskType)]
    for task_type in found:
        if task_type.mode == "process" and "<locals>" in task_type.handler.__qualname__:
            raise errors.InvalidConfig(
                f"Task type {task_type.name!r} has mode 'process': its function must be at the top level of a module."
            )
    return found


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    # The border to the user's modules: importing one may raise anything.
    except Exception as exc:
        raise errors.InvalidConfig(
            f"imports: the module {name!r} cannot be loaded ({type(exc).__name__}: {exc}). "
            "Correct it, or put its directory on the PYTHONPATH of this program.",
            module=name,
        ) from exc


def find_plug_ins() -> tuple[importlib.metadata.EntryPoint, ...]:
    """Return the entry points of installed packages that hold task types.

    To find them every installed package is read, so they are kept until something was installed or removed.
    """
    return _plug_ins_of(tuple((place, _changed(place)) for place in sys.path))


@functools.lru_cache(maxsize=1)
def _plug_ins_of(_places: tuple[tuple[str, float], ...]) -> tuple[importlib.metadata.EntryPoint, ...]:
    return tuple(importlib.metadata.entry_points(group=ENTRY_POINT_GROUP))


def _changed(place: str) -> float:
    try:
        return os.stat(place or ".").st_mtime
    except OSError:
        return 0.0


def _from_entry_points() -> list[TaskType]:
    types: list[TaskType] = []
    for entry_point in find_plug_ins():
        try:
            loaded = entry_point.load()
        # The border to installed plug-ins: a broken one must not take the others with it.
        except Exception:
            logger.exception(
                "a plug-in cannot be loaded", extra={"action": "load_task_type", "plugin": entry_point.name}
            )
            continue
        types += (
            [loaded] if isinstance(loaded, TaskType) else types_in(loaded) if isinstance(loaded, ModuleType) else []
        )
    return types
