"""Hands a task what those ended with that it comes after: in its prompt, in its payload. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from mahavishnu_pools.schemas.dependency import ParentResult

from .interface import RunContext

#: Where a payload has it.
KEY = "parents"

_PLACE = re.compile(r"\{parents(?:\.([A-Za-z0-9][A-Za-z0-9._-]*))?\}")


def with_prompt(context: RunContext, prompt: str) -> str:
    """Return a prompt for an AI program with its parents' results.

    ``{parents}`` stands for all of them, ``{parents.NAME}`` for the output of one (its name or id). A prompt without
    either gets all of them at its end.
    """
    parents = context.parents
    if not parents:
        return prompt
    known = {key: one for one in parents for key in (one.name, one.task_id) if key}

    def filled(found: re.Match[str]) -> str:
        if found[1] is None:
            return _told(parents)
        return _output(known[found[1]]) if found[1] in known else found.group()

    text, count = _PLACE.subn(filled, prompt)
    return text if count else f"{prompt}\n\nResults of the tasks before this one:\n\n{_told(parents)}"


def with_payload(context: RunContext, model: type[BaseModel] | None, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return a payload with its parents' results, where its model has a field for them (None: it has no model)."""
    wanted = model is None or KEY in model.model_fields
    if not context.parents or not wanted or KEY in payload:
        return dict(payload)
    return {**payload, KEY: as_data(context.parents)}


def with_spec(context: RunContext, model: type[BaseModel] | None, *, ai: bool) -> RunContext:
    """Return a context whose task has its parents' results in itself, for who runs it elsewhere; ``ai``: in words."""
    spec = context.spec
    if not context.parents:
        return context
    if spec.text is None:
        changed: dict[str, Any] = {"payload": with_payload(context, model, spec.payload)}
    elif not ai:
        return context
    elif spec.prompt is not None:
        changed = {"prompt": with_prompt(context, spec.prompt)}
    else:
        changed = {"payload": {**spec.payload, "prompt": with_prompt(context, spec.text)}}
    return replace(context, spec=spec.model_copy(update=changed))


def as_data(parents: Sequence[ParentResult]) -> list[dict[str, Any]]:
    """Return results as JSON data with all their fields."""
    return [one.model_dump(mode="json") for one in parents]


def _told(parents: Sequence[ParentResult]) -> str:
    return "\n\n".join(f"## {one.name or one.task_id}: {one.status}\n{_output(one)}".rstrip() for one in parents)


def _output(one: ParentResult) -> str:
    if one.expired:
        return "(Its result was not kept so long.)"
    value = "" if one.value is None else json.dumps(one.value, ensure_ascii=False)
    text = one.output or value or one.error or ""
    return f"{text}\n(… cut)" if one.truncated else text
