"""What the formats write, to the letter."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mahavishnu_pools.cli import pool_documents, receipts, schedule_documents, task_documents, task_lists
from mahavishnu_pools.cli.formats.cells import width_of
from mahavishnu_pools.cli.formats.choice import FormatName, format_of
from mahavishnu_pools.cli.formats.interface import Column, Document, Fields, Note, State, Table, Text
from mahavishnu_pools.cli.formats.markdown import MarkdownFormat
from mahavishnu_pools.cli.formats.table import TableFormat
from mahavishnu_pools.routing.distributing import Distribution
from mahavishnu_pools.schemas.schedule import Schedule, ScheduleHistory, Where
from mahavishnu_pools.schemas.task import DistributionResult
from mahavishnu_pools.store.tasks import Submitted
from tests.fakes.cli_manager import pool_info, task_result

POOLS = pool_documents.pool_list(
    [
        pool_info("local", pool_id="pool_abc123"),
        pool_info(
            "k8s-pool",
            pool_id="pool_def456",
            pool_type="kubernetes",
            status="degraded",
            workers=10,
            min_workers=5,
            max_workers=20,
        ),
    ]
)


def table(document: Document) -> str:
    return TableFormat().render(document)


def markdown(document: Document) -> str:
    return MarkdownFormat().render(document)


def test_the_list_of_pools_is_a_framed_table_with_signs() -> None:
    assert (
        table(POOLS)
        == """\
Active Pools
┏━━━━━━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━━━━━┳━━━━━━━━━━━━┳━━━━━━━━━┳━━━━━━━┓
┃ Pool ID     ┃ Name     ┃ Type       ┃ Status     ┃ Workers ┃ Range ┃
┡━━━━━━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━━━━━╇━━━━━━━━━━━━╇━━━━━━━━━╇━━━━━━━┩
│ pool_abc123 │ local    │ mahavishnu │ ● running  │       5 │ 2-10  │
│ pool_def456 │ k8s-pool │ kubernetes │ ⚠ degraded │      10 │ 5-20  │
└─────────────┴──────────┴────────────┴────────────┴─────────┴───────┘"""
    )


def test_the_list_of_pools_is_a_markdown_table_as_the_documents_print_it() -> None:
    assert (
        markdown(POOLS)
        == """\
## Active Pools

| Pool ID | Name | Type | Status | Workers | Region |
|---------|------|------|--------|---------|--------|
| pool_abc123 | local | mahavishnu | running | 5 | default |
| pool_def456 | k8s-pool | kubernetes | degraded | 10 | default |"""
    )


def test_the_list_of_pools_is_json_under_the_key_pools() -> None:
    data = json.loads(format_of(FormatName.JSON).render(POOLS))

    assert [*data] == ["pools"]
    assert data["pools"][0]["pool_id"] == "pool_abc123"
    assert data["pools"][1]["status"] == "degraded"
    assert data["pools"][1]["max_workers"] == 20


def test_without_pools_the_list_says_how_to_make_one() -> None:
    document = pool_documents.pool_list([])

    assert document.data == {"pools": []}
    assert table(document) == "No pools. Make one with: mahavishnu pools spawn --name NAME"


def test_one_pool_is_printed_as_in_the_documents() -> None:
    pool = pool_info(
        "local-pool",
        pool_id="pool_abc123def456",
        tasks_completed=152,
        tasks_failed=3,
        avg_duration=4.231,
        memory_mb=245.31,
    )

    assert (
        table(pool_documents.pool_details(pool))
        == """\
Pool: pool_abc123def456
Name: local-pool
Type: mahavishnu
Status: ● RUNNING
Workers: 5 (2-10)
Region: default

Metrics:
  Tasks Completed: 152
  Tasks Failed: 3
  Tasks Running: 0
  Tasks Queued: 0
  Avg Duration: 4.23s
  Memory Usage: 245.3 MB"""
    )


@pytest.mark.parametrize(
    ("length", "titles"),
    [
        (12, ["Pool ID", "Name", "Type", "Status", "Workers", "Range"]),
        (20, ["Pool ID", "Name", "Type", "Status", "Workers"]),
        (34, ["Pool ID", "Name", "Status", "Workers"]),
        (50, ["Name", "Status", "Workers"]),
        (63, ["Name", "Status"]),
    ],
)
def test_the_name_of_a_pool_is_whole_on_a_terminal_of_80_columns(length: int, titles: list[str]) -> None:
    name = "n" * length
    document = pool_documents.pool_list([pool_info(name, pool_id="pool_0123456789ab"), pool_info("other")])

    _, _, head, _, row, *more = TableFormat(width=80).render(document).splitlines()

    assert name in row
    assert [title.strip() for title in head.strip("┃ ").split("┃")] == titles
    assert max(map(width_of, [row, *more])) <= 80


def test_figures_that_are_not_known_are_a_dash() -> None:
    text = table(pool_documents.pool_details(pool_info()))

    assert "  Avg Duration: –\n  Memory Usage: –" in text


def test_health_is_printed_as_in_the_documents() -> None:
    found = {
        "status": "healthy",
        "pools_active": 2,
        "pools": [
            {"pool_id": "pool_abc123", "status": "running", "workers": 5},
            {"pool_id": "pool_def456", "name": "k8s", "status": "failed", "workers": 1, "reason": "no agent"},
        ],
    }

    assert (
        table(pool_documents.health(found))
        == """\
Pool Manager Health: HEALTHY
Active Pools: 2

Pool Status:
  ● pool_abc123: 5 workers
  ✗ pool_def456: 1 worker, failed (k8s): no agent"""
    )


def test_statistics_begin_as_in_the_documents_and_nested_figures_follow() -> None:
    figures = {"pools": 2, "workers": 15, "pools_active": 1}
    found = {**figures, "memory_sync": {"pending": 0, "last_success": None}, "by_type": {"mahavishnu": figures}}
    pools = [pool_info("a"), pool_info("b", status="degraded")]

    document = pool_documents.statistics(found, pools)

    assert document.data["pools_degraded"] == 1
    assert (
        table(document)
        == """\
Pool Statistics
┏━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━┓
┃ Metric                   ┃ Value ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━┩
│ Total Pools              │     2 │
│ Total Workers            │    15 │
│ Active Pools             │     1 │
│ Degraded Pools           │     1 │
│ Failed Pools             │     0 │
│ mahavishnu_pools         │     2 │
│ mahavishnu_workers       │    15 │
│ Memory Sync Pending      │     0 │
│ Memory Sync Last Success │     – │
└──────────────────────────┴───────┘"""
    )


def test_a_completed_task_is_printed_as_in_the_documents() -> None:
    assert (
        table(task_documents.executed(task_result()))
        == """\
✓ Task completed
  Status: completed
  Output: Analysis complete: 15 issues found"""
    )


def test_a_failed_task_shows_error_exit_code_and_all_lines_of_its_output() -> None:
    failed = task_result(status="failed", error="It broke.", exit_code=2, output="one\ntwo\n")

    assert (
        table(task_documents.executed(failed))
        == """\
✗ Task failed
  Status: failed
  Error: It broke.
  Exit code: 2
  Output:
    one
    two"""
    )


def test_a_task_is_printed_as_in_the_documents() -> None:
    running = task_result(status="running", exit_code=None)

    assert (
        table(task_documents.task_details(running))
        == """\
Task: task_abc123
Status: RUNNING
Type: analyze
Pool: pool_local
Worker: worker_1
Created: 2026-02-05 10:23:45 UTC
Started: 2026-02-05 10:23:45 UTC
Duration: 5.23s

Result:
  Analysis complete: 15 issues found"""
    )


def _distribution(*items: object) -> DistributionResult:
    results = tuple(task_result(f"task_{number}", status=status) for number, status in enumerate(items))
    good = sum(item.ok for item in results)
    return DistributionResult(
        batch_id="b",
        strategy="map_reduce",
        total=len(results),
        successful=good,
        failed=len(results) - good,
        items=results,
        reduced={"n": 1},
    )


def test_a_distribution_begins_as_in_the_documents_and_lists_its_items() -> None:
    lines = table(task_documents.distributed(_distribution("completed", "completed", "completed"))).splitlines()

    assert lines[:4] == ["✓ Distribution completed", "  Total: 3", "  Successful: 3", "  Failed: 0"]
    assert lines[5] == "Items"
    assert sum("✓ completed" in line for line in lines) == 3
    assert lines[-4:] == ["Reduced:", "  {", '    "n": 1', "  }"]


def test_a_batch_whose_tasks_have_names_shows_them_instead_of_numbers() -> None:
    result = _distribution("completed", "completed")
    named = (result.items[0].model_copy(update={"name": "build"}), result.items[1])

    lines = table(task_lists.batch_gathered(result.model_copy(update={"items": named}))).splitlines()

    rows = [[cell.strip() for cell in line.split("│")[1:3]] for line in lines if "✓ completed" in line]
    assert rows == [["build", "task_0"], ["2", "task_1"]]


def test_the_json_of_a_distribution_has_the_specified_keys() -> None:
    data = task_documents.distributed(_distribution("completed", "failed")).data

    assert [*data] == ["strategy", "batch_id", "total", "successful", "failed", "items", "reduced", "known"]
    assert [item["status"] for item in data["items"]] == ["completed", "failed"]


def test_a_long_distribution_shows_its_failed_items_and_how_many_are_left_out() -> None:
    statuses = ["completed"] * task_documents.MOST_ROWS + ["failed"]

    text = table(task_documents.distributed(_distribution(*statuses)))

    assert "Failed items" in text
    assert f"… and {task_documents.MOST_ROWS} more items; --format json shows all." in text


def test_receipts_hold_the_ids() -> None:
    one = receipts.accepted(Submitted("task_1", "pool_1", new=True), batch_id="b").data
    many = receipts.distribution_accepted(Distribution("b", ("t1", "t2"), "random")).data

    assert one == {"task_id": "task_1", "pool_id": "pool_1", "status": "queued", "batch_id": "b", "new": True}
    assert many["task_ids"] == ["t1", "t2"]
    assert many["batch_id"] == "b"


def test_control_characters_of_a_task_cannot_steer_the_terminal() -> None:
    document = task_documents.executed(task_result(output="\x1b[2J\x07", status="failed", error="\x9b31m"))

    text = table(document) + markdown(document)

    assert not {"\x1b", "\x07", "\x9b"} & set(text)
    assert "\\x1b[2J" in text


def test_pipes_and_stars_do_not_break_a_markdown_table() -> None:
    document = Document(None, (Table("T", (Column("A"),), (("a|b *c*\nd",),)),))

    assert markdown(document).splitlines()[-1] == "| a\\|b \\*c\\* d |"


def test_a_text_with_a_fence_gets_a_longer_fence() -> None:
    assert "````" in markdown(Document(None, (Text("T", "```\nx\n```"),)))


def test_json_has_no_nan() -> None:
    assert json.loads(format_of(FormatName.JSON).render(Document({"a": [float("nan"), 1.0]}, ()))) == {"a": [None, 1.0]}


def test_colour_is_added_only_when_asked_for() -> None:
    document = Document(None, (Note("fine", good=True), Fields(None, (("Status", State("failed")),))))

    assert "\x1b[" not in TableFormat().render(document)
    assert TableFormat(colour=True).render(document) == "\x1b[32m✓\x1b[0m fine\nStatus: \x1b[31m✗\x1b[0m FAILED"


@pytest.mark.parametrize("name", list(FormatName))
def test_every_format_that_can_be_named_writes_something(name: FormatName) -> None:
    assert format_of(name).render(POOLS)


def test_progress_ends_with_the_table() -> None:
    assert format_of(FormatName.PROGRESS).render(POOLS) == format_of(FormatName.TABLE).render(POOLS)


cells = st.text(max_size=30) | st.integers() | st.none() | st.builds(State, st.sampled_from(["running", "failed"]))


@given(st.lists(st.tuples(cells, cells), max_size=8), st.integers(min_value=20, max_value=120))
def test_the_lines_of_a_table_are_equally_wide_and_fit(rows: list[tuple[object, object]], width: int) -> None:
    document = Document(None, (Table("T", (Column("One"), Column("Two", "right")), tuple(rows)),))  # type: ignore[arg-type]

    _, *lines = TableFormat(width=width).render(document).splitlines()

    assert len({width_of(line) for line in lines}) == 1
    assert width_of(lines[0]) <= max(width, 23)


def test_on_a_narrow_terminal_ids_are_whole_and_spare_columns_are_left_out() -> None:
    columns = (Column("Task", whole=True), Column("What"), Column("Type", spare=1), Column("Created", spare=2))
    document = Document(
        None, (Table("T", columns, (("task_4534660a28baaf23", "word " * 20, "prompt", "2026-11-21"),)),)
    )

    narrow, wide = (TableFormat(width=width).render(document) for width in (50, 200))

    assert "task_4534660a28baaf23" in narrow
    assert "Type" in narrow
    assert "Created" not in narrow
    assert max(width_of(line) for line in narrow.splitlines()) <= 50
    assert "2026-11-21" in wide


def test_a_long_distribution_without_a_failure_says_so() -> None:
    text = table(task_documents.distributed(_distribution(*["completed"] * (task_documents.MOST_ROWS + 1))))

    assert f"{task_documents.MOST_ROWS + 1} items, none failed; --format json shows all." in text


def test_a_schedule_whose_pool_is_gone_says_so() -> None:
    about = {"every": 60, "task": {"prompt": "x"}, "created_at": datetime.now(UTC)}
    wanted = {"one": "local", "two": "pool_1", "three": "closed", "four": None}
    found = [Schedule(name=name, where=Where(pool=pool), **about) for name, pool in wanted.items()]

    text = table(schedule_documents.listed(found, {"local", "pool_1"}))

    assert [line.split()[1] for line in text.splitlines() if "(gone)" in line] == ["three"]


def test_a_schedule_is_shown_with_all_its_task_is_told_but_no_values_of_variables() -> None:
    task = {"prompt": "word " * 30, "cwd": "/srv", "needs": ["gpu=1", "fast"], "env": {"TOKEN": "s3cret"}, "timeout": 0}
    one = Schedule(name="n", every=60, task=task, created_at=datetime.now(UTC), where=Where())

    text = table(schedule_documents.history(ScheduleHistory(schedule=one, runs=()), {}))

    assert ("word " * 30).strip() in " ".join(text.split())
    assert [line for line in text.splitlines() if line.startswith(("Cwd", "Env", "Needs", "Timeout"))] == [
        "Cwd: /srv", "Env: TOKEN", "Needs: gpu=1, fast", "Timeout: 0"
    ]  # fmt: skip
