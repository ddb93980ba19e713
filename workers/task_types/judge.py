"""Task types that judge: a prompt or a function gets the answers of a contest and names the best of them."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from mahavishnu_pools.schemas.batch_payloads import JUDGE, JUDGE_CALL, JudgeCallPayload, JudgePayload
from mahavishnu_pools.schemas.contest import verdict_of
from mahavishnu_pools.schemas.task import Outcome, TaskResult
from mahavishnu_pools.task_types import PythonPayload, task_type

from ..executors.interface import Refused, RunContext
from ..executors.terminal import chosen_worker_type, run_prompt
from .python import python

#: Names the file with all answers, for judges that are commands.
ANSWERS_VARIABLE = "MAHAVISHNU_ANSWERS"

#: Where a judge's prompt wants the answers; without it they come behind it.
ANSWERS = "{answers}"

#: Characters that a judge's prompt has of one answer, and of all; the file and functions get all of them. Some programs
#: take no prompt of more than 128 KiB.
ANSWER_CHARACTERS, ALL_CHARACTERS = 16_000, 96_000

#: Characters of what a judge said that an error quotes.
_QUOTED = 200

_QUESTION = 'Name the best answer. End with one line of JSON: {"winner": its number, "reason": "why, in a sentence"}'


@task_type(JUDGE, payload=JudgePayload, mode="call")
def judge(payload: JudgePayload, context: RunContext) -> Outcome:
    """Ask the worker type's program for the best answer.

    A command (worker type ``shell``) is left as it is and finds the answers in a file: they are no part of it.

    Raises:
        Refused: the answers cannot be read, or the prompt cannot be run.
    """
    candidates = _candidates(context, payload.batch_id)
    worker_type = chosen_worker_type(context)
    prompt = payload.prompt if worker_type is not None and not worker_type.ai else question(payload.prompt, candidates)
    with _answers_file(candidates) as path:
        env = {**context.spec.env, ANSWERS_VARIABLE: str(path)}
        spec = context.spec.model_copy(update={"task_type": "prompt", "prompt": prompt, "payload": {}, "env": env})
        outcome = run_prompt(replace(context, spec=spec), prompt)
    return judged(outcome, candidates)


@task_type(JUDGE_CALL, payload=JudgeCallPayload, mode="call")
def judge_call(payload: JudgeCallPayload, context: RunContext) -> Outcome:
    """Ask an allowed function for the best answer.

    Raises:
        Refused: the answers cannot be read, or the function is not on the list.
    """
    candidates = _candidates(context, payload.batch_id)
    kwargs = {**payload.kwargs, "answers": _answers(candidates)}
    call = PythonPayload(callable=payload.callable, args=payload.args, kwargs=kwargs)
    return judged(python(call, context), candidates)


def question(prompt: str, candidates: Sequence[TaskResult]) -> str:
    """Return what an AI program is asked: the prompt, the answers by number, and how to name the best."""
    most = min(ANSWER_CHARACTERS, ALL_CHARACTERS // max(1, sum(one.ok for one in candidates)))
    shown = [f"--- Answer {place} ---\n{_cut(_text(one), most)}" for place, one in enumerate(candidates) if one.ok]
    answers = "\n\n".join([*shown, "--- End of the answers ---"])
    asked = prompt.replace(ANSWERS, answers) if ANSWERS in prompt else f"{prompt}\n\n{answers}"
    return f"{asked}\n\n{_QUESTION}"


def judged(outcome: Outcome, candidates: Sequence[TaskResult]) -> Outcome:
    """Return a judge's outcome with its verdict as the value; one that names no candidate has failed."""
    if outcome.status != "completed":
        return outcome
    verdict = verdict_of(said_in(outcome.output) if outcome.value is None else outcome.value, candidates)
    if verdict is None:
        text = " ".join(outcome.output.split())[-_QUOTED:] or "nothing"
        error = f"It named no candidate that has an answer. It said: {text}"
        return outcome.model_copy(update={"status": "failed", "error": error, "value": None})
    told = {**verdict.model_dump(mode="json"), "task_id": candidates[verdict.winner].task_id}
    return outcome.model_copy(update={"value": told})


def said_in(text: str) -> JsonValue:
    """Return what a judge said as JSON: the whole of it, or its last object that names a winner; None: nothing."""
    with contextlib.suppress(ValueError, RecursionError):
        whole: JsonValue = json.loads(text)
        return whole
    decoder, at = json.JSONDecoder(), len(text)
    for _ in range(100):
        at = text.rfind("{", 0, at)
        if at < 0:
            return None
        with contextlib.suppress(ValueError, RecursionError):
            found, _end = decoder.raw_decode(text, at)
            if isinstance(found, dict) and "winner" in found:
                said: JsonValue = found
                return said
    return None


def _candidates(context: RunContext, batch_id: str) -> Sequence[TaskResult]:
    reader = context.services.get("batch_reader")
    if reader is None:
        raise Refused("This worker cannot read the results of a batch. Submit the task to a pool of a running stack.")
    found: Sequence[TaskResult] = reader(batch_id)
    return found


@contextlib.contextmanager
def _answers_file(candidates: Sequence[TaskResult]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mahavishnu-judge-") as folder:
        path = Path(folder) / "answers.json"
        path.write_text(json.dumps(_answers(candidates)), encoding="utf-8")
        yield path


def _answers(candidates: Sequence[TaskResult]) -> list[Any]:
    fields = {"task_id", "pool_id", "status", "output", "value", "error", "metadata"}
    return [one.model_dump(mode="json", include=fields) for one in candidates]


def _text(candidate: TaskResult) -> str:
    return candidate.output or ("" if candidate.value is None else json.dumps(candidate.value, ensure_ascii=False))


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    return f"{text[:most]}\n[… {len(text) - most} more characters were left out]"
