"""The process that runs the prompts of the embedded Session-Buddy, when it says what it should not."""

from __future__ import annotations

import sys

import pytest

from mahavishnu_pools.session_buddy import runner as runner_module
from mahavishnu_pools.session_buddy.runner import Job, PromptRunner

#: Answers the first request with what stands here, then waits until it is ended.
_SPEAKS = "import sys; sys.stdin.readline(); sys.stdout.write({said}); sys.stdout.flush(); sys.stdin.read()"

SAID = {
    "not JSON": "'never mind\\n'",
    "no answer": "'{}\\n'",
    "a list": "'[1]\\n'",
    "nested too deep": "'[' * 100_000 + '\\n'",
    "a line without an end": "'x' * 200_000",
    "an outcome that is none": '\'{"id": "one", "outcome": {"status": 7}}\\n\'',
}


@pytest.mark.parametrize("said", list(SAID.values()), ids=list(SAID))
async def test_a_prompt_whose_answer_cannot_be_read_can_be_tried_again(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "MAX_LINE", 65_536)
    runner = PromptRunner(command=(sys.executable, "-c", _SPEAKS.format(said=said)))
    try:
        outcome = await runner.run(Job(task_id="one", pool_id="pool", worker_id="worker", prompt="x", timeout=60.0))
    finally:
        await runner.close()
    assert (outcome.status, outcome.retryable) == ("failed", "connection")
