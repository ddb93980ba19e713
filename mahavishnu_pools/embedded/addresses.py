"""Settings as they are on a stack: its own servers are those that clients use, unless they name others."""

from __future__ import annotations

from pathlib import Path

from mahavishnu_pools.embedded.parts import PARTS
from mahavishnu_pools.embedded.state import StackState, read_state
from mahavishnu_pools.settings import Settings


def on_stack(settings: Settings, data_dir: Path, *, redis_url: str) -> Settings:
    """Return the settings for a client of the stack in a directory; unchanged when that has another Redis, or none.

    URLs that somebody configured stay.
    """
    state = read_state(data_dir)
    if state is None or state.redis_url != redis_url:
        return settings
    return settings.model_copy(update=_urls(settings, state))


def _urls(settings: Settings, state: StackState) -> dict[str, str]:
    found = {}
    for part in PARTS:
        row, name = state.part(part.name), part.choice.url if part.choice is not None else None
        if row is not None and row.url is not None and name is not None and name not in settings.model_fields_set:
            found[name] = row.url
    return found
