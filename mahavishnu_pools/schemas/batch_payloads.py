"""Payloads of the task types that read the results of a batch: reducers, and judges of contests."""

from __future__ import annotations

from pydantic import Field, JsonValue

from mahavishnu_pools.schemas.base import Value

#: Task types that name the best answer of a contest: a prompt, and a Python function.
JUDGE, JUDGE_CALL = "judge", "judge:python"

#: Built-in task types that read a batch: only the instance that has it can run them.
READ_A_BATCH = frozenset({"reduce", JUDGE, JUDGE_CALL})


class ReducePayload(Value):
    """The batch whose results are reduced, and the name of the reducer."""

    batch_id: str = Field(min_length=1)
    reducer: str = Field(default="concat", min_length=1, max_length=100)


class JudgePayload(Value):
    """The batch whose answers are judged, and what is asked; ``{answers}`` in it stands for them."""

    batch_id: str = Field(min_length=1)
    prompt: str = Field(min_length=1, pattern=r"\S")


class JudgeCallPayload(Value):
    """The batch whose answers are judged, and the function that does; it gets them as the keyword ``answers``."""

    batch_id: str = Field(min_length=1)
    callable: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")
    args: list[JsonValue] = Field(default_factory=list)
    kwargs: dict[str, JsonValue] = Field(default_factory=dict)
