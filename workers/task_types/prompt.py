"""Task type ``prompt``: a text for the worker type's program."""

from __future__ import annotations

from mahavishnu_pools.task_types import PromptPayload, task_type


@task_type("prompt", payload=PromptPayload, mode="prompt")
def prompt(payload: PromptPayload) -> str:
    """Return the text as it is."""
    return payload.prompt
