"""The typed values: what they take, what they refuse, and that they survive JSON."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mahavishnu_pools import names
from mahavishnu_pools.schemas.pool import (
    ACTIVE_STATUSES,
    ENDED_STATUSES,
    PoolConfig,
    PoolInfo,
    PoolStatus,
)
from mahavishnu_pools.schemas.task import (
    TERMINAL_STATUSES,
    DistributionResult,
    Outcome,
    TaskResult,
    TaskSpec,
    TaskStatus,
)

POOL_NAMES = st.from_regex(names.POOL_NAME_PATTERN, fullmatch=True).filter(lambda name: not name.startswith("pool_"))
WORKERS = st.integers(min_value=1, max_value=1000)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
SPECS = st.builds(
    TaskSpec,
    task_type=st.sampled_from(["shell", "python", "shop.refund"]),
    payload=st.dictionaries(st.text(), JSON, max_size=4),
    timeout=st.floats(min_value=0.001, max_value=7 * 86400),
    priority=st.integers(min_value=0, max_value=9),
    idempotency_key=st.none() | st.text(min_size=1, max_size=200),
    max_retries=st.none() | st.integers(min_value=0, max_value=100),
    env=st.dictionaries(st.text(), st.text(), max_size=3),
)


class TestPoolConfig:
    @given(name=POOL_NAMES, low=WORKERS, more=st.integers(min_value=0, max_value=999))
    def test_survives_json(self, name: str, low: int, more: int) -> None:
        config = PoolConfig(name=name, min_workers=low, max_workers=min(1000, low + more), tags=("gpu",))

        assert PoolConfig.model_validate_json(config.model_dump_json()) == config

    @given(low=WORKERS, high=WORKERS)
    def test_takes_limits_exactly_when_they_are_in_order(self, low: int, high: int) -> None:
        if low <= high:
            PoolConfig(name="p", min_workers=low, max_workers=high)
        else:
            with pytest.raises(ValidationError, match=rf"min_workers \({low}\) is greater than max_workers \({high}\)"):
                PoolConfig(name="p", min_workers=low, max_workers=high)

    @given(st.text())
    def test_takes_exactly_the_names_that_are_usable(self, name: str) -> None:
        if names.is_pool_name(name):
            assert PoolConfig(name=name).name == name
        else:
            with pytest.raises(ValidationError, match="cannot be a pool's name"):
                PoolConfig(name=name)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("min_workers", 0),
            ("max_workers", 1001),
            ("max_workers", "many"),
            ("min_workers", 1.5),
            ("replicas", 0),
            ("isolation", "jail"),
            ("no_such_field", 1),
        ],
    )
    def test_names_the_field_that_is_wrong(self, field: str, value: object) -> None:
        with pytest.raises(ValidationError) as caught:
            PoolConfig.model_validate({"name": "p", field: value})

        assert caught.value.errors()[0]["loc"] == (field,)

    def test_has_the_documented_defaults(self) -> None:
        config = PoolConfig(name="p")

        assert (config.pool_type, config.min_workers, config.max_workers) == ("mahavishnu", 1, 10)
        assert (config.auto_scale, config.memory_enabled, config.failover) == (True, True, False)
        assert (config.region, config.replicas, config.nodes, config.worker_type) == ("default", 1, None, None)

    def test_cannot_be_changed_afterwards(self) -> None:
        config = PoolConfig(name="p")

        with pytest.raises(ValidationError, match="frozen"):
            config.name = "q"  # type: ignore[misc]


class TestPoolInfo:
    @given(
        running=st.integers(min_value=0, max_value=10**6),
        queued=st.integers(min_value=0, max_value=10**6),
        workers=st.integers(min_value=1, max_value=1000),
    )
    def test_load_is_work_per_worker(self, running: int, queued: int, workers: int) -> None:
        assert math.isclose(_info(running=running, queued=queued, workers=workers).load * workers, running + queued)

    def test_load_of_a_pool_without_workers_is_its_work(self) -> None:
        assert _info(running=0, queued=3, workers=0).load == 3

    def test_reads_like_a_dict(self) -> None:
        info = _info(running=1, queued=2, workers=3)

        assert info["queued"] == 2
        assert "queued" in info
        assert "load_of_bricks" not in info
        assert dict(info) == {name: getattr(info, name) for name in PoolInfo.model_fields}
        assert info.get("nothing", 7) == 7
        with pytest.raises(KeyError):
            info["nothing"]


def test_a_pool_is_never_active_and_ended_at_once() -> None:
    assert not ACTIVE_STATUSES & ENDED_STATUSES
    assert set(PoolStatus) > ACTIVE_STATUSES | ENDED_STATUSES


class TestTaskSpec:
    @given(SPECS)
    def test_survives_json(self, spec: TaskSpec) -> None:
        assert TaskSpec.model_validate_json(spec.model_dump_json()) == spec

    @pytest.mark.parametrize(
        ("given", "text"),
        [
            ({"prompt": "hello"}, "hello"),
            ({"prompt": ""}, ""),
            ({"payload": {"prompt": "hello"}}, "hello"),
            ({"task_type": "shell", "payload": {"command": "true"}}, None),
        ],
    )
    def test_finds_the_prompt_wherever_it_is(self, given: dict[str, object], text: str | None) -> None:
        assert TaskSpec.model_validate(given).text == text

    def test_refuses_a_task_that_says_nothing(self) -> None:
        with pytest.raises(ValidationError, match="a task needs a prompt, or a task_type with its payload"):
            TaskSpec()

    def test_refuses_a_task_that_says_two_things(self) -> None:
        with pytest.raises(ValidationError, match="either prompt or task_type with payload, not both"):
            TaskSpec(prompt="hello", task_type="shell")

    @pytest.mark.parametrize("timeout", [0, -1, math.inf, math.nan, 8 * 86400, "soon", None])
    def test_refuses_timeouts_that_are_none(self, timeout: object) -> None:
        with pytest.raises(ValidationError) as caught:
            TaskSpec.model_validate({"prompt": "x", "timeout": timeout})

        assert caught.value.errors()[0]["loc"] == ("timeout",)

    @given(st.integers())
    def test_takes_priorities_from_0_to_9_only(self, priority: int) -> None:
        if 0 <= priority <= 9:
            assert TaskSpec(prompt="x", priority=priority).priority == priority
        else:
            with pytest.raises(ValidationError, match="priority"):
                TaskSpec(prompt="x", priority=priority)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("expires", 0),
            ("idempotency_key", ""),
            ("affinity", "x" * 201),
            ("max_retries", -1),
            ("on_worker_lost", "shrug"),
            ("task_type", ""),
            ("task_type", "x" * 101),
            ("payload", "no mapping"),
            ("env", {"A": 1}),
            ("metadata", {"when": datetime(2026, 1, 1, tzinfo=UTC)}),
            ("no_such_field", 1),
        ],
    )
    def test_names_the_field_that_is_wrong(self, field: str, value: object) -> None:
        with pytest.raises(ValidationError) as caught:
            TaskSpec.model_validate({"payload": {"prompt": "x"}, field: value})

        assert caught.value.errors()[0]["loc"][0] == field


class TestTaskResult:
    @pytest.mark.parametrize("status", list(TaskStatus))
    def test_is_done_exactly_in_a_terminal_status(self, status: TaskStatus) -> None:
        result = TaskResult(task_id="task_1", status=status)

        assert result.done == (status in TERMINAL_STATUSES)
        assert result.ok == (status is TaskStatus.COMPLETED)

    def test_the_terminal_statuses_are_those_of_the_specification(self) -> None:
        assert {"completed", "failed", "timeout", "cancelled", "dead", "refused"} == TERMINAL_STATUSES

    def test_reads_like_a_dict_and_writes_plain_json(self) -> None:
        result = TaskResult(task_id="task_1", status=TaskStatus.COMPLETED, output="hi", value={"n": [1, 2]})

        assert result["status"] == "completed"
        assert json.loads(result.model_dump_json())["status"] == "completed"
        assert TaskResult.model_validate_json(result.model_dump_json()) == result

    @given(value=JSON)
    def test_keeps_any_json_value(self, value: object) -> None:
        result = TaskResult.model_validate({"task_id": "task_1", "status": "completed", "value": value})

        assert TaskResult.model_validate_json(result.model_dump_json()).value == value


def test_an_outcome_is_never_a_state_on_the_way() -> None:
    for status in set(TaskStatus) - TERMINAL_STATUSES:
        with pytest.raises(ValidationError):
            Outcome.model_validate({"status": status.value})


def test_a_distribution_keeps_the_order_of_its_items() -> None:
    items = [{"task_id": f"task_{number}", "status": "completed"} for number in (3, 1, 2)]

    result = DistributionResult.model_validate(
        {"batch_id": "b", "strategy": "broadcast", "total": 3, "successful": 3, "failed": 0, "items": items}
    )

    assert [item["task_id"] for item in result["items"]] == ["task_3", "task_1", "task_2"]


def _info(*, running: int, queued: int, workers: int) -> PoolInfo:
    return PoolInfo(
        pool_id="pool_1",
        name="p",
        pool_type="mahavishnu",
        status=PoolStatus.RUNNING,
        workers=workers,
        min_workers=1,
        max_workers=1000,
        running=running,
        queued=queued,
        created_at=0.0,
    )
