"""Which Python functions of users may be called: the entries of the setting ``python_callables``. Pure."""

from __future__ import annotations

from collections.abc import Collection


def allowed_by(reference: str, callables: Collection[str]) -> str | None:
    """Return the entry that allows ``module:function``: itself, or ``module:*`` for the module's own; else None."""
    if reference in callables:
        return reference
    module, _, path = reference.partition(":")
    whole = f"{module}:*"
    return whole if whole in callables and "." not in path and not path.startswith("_") else None


def remedy_for(reference: str) -> str:
    """Return what allows a function, for people."""
    return (
        f"Add it, or '{reference.partition(':')[0]}:*', to the setting python_callables (MAHAVISHNU_PYTHON_CALLABLES)."
    )
