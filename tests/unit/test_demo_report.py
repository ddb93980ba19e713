"""The report of the demonstration."""

from __future__ import annotations

from typing import Any

from mahavishnu_pools.cli.formats.table import TableFormat
from mahavishnu_pools.demo.report import MOST_ROWS, Address, FileResult, Report, document, file_result
from tests.fakes.cli_manager import task_result


def _report(*results: FileResult, **fields: Any) -> Report:
    given: dict[str, Any] = {
        "directory": "/srv/project",
        "results": results,
        "pools": ("a", "b"),
        "workers": 4,
        "seconds": 1.25,
        "addresses": (Address("redis", "redis://127.0.0.1:1"),),
        "next_steps": ("mahavishnu pools list",),
    }
    return Report(**{**given, **fields})


def _good(file: str, issues: int, **rules: int) -> FileResult:
    return FileResult(file, issues, rules, pool="a", worker="w1", duration=0.5)


#: The report on three files, of which one could not be analysed.
FULL_REPORT = """\
Findings per file
┏━━━━━━━━━━┳━━━━━━━━┳━━━━━━┳━━━━━━━━┳━━━━━━━━━━┓
┃ File     ┃ Issues ┃ Pool ┃ Worker ┃ Duration ┃
┡━━━━━━━━━━╇━━━━━━━━╇━━━━━━╇━━━━━━━━╇━━━━━━━━━━┩
│ bad.py   │      3 │ a    │ w1     │    0.50s │
│ clean.py │      0 │ a    │ w1     │    0.50s │
└──────────┴────────┴──────┴────────┴──────────┘

Failed items
┏━━━━━━┳━━━━━━┳━━━━━━━━━┓
┃ File ┃ Pool ┃ Why     ┃
┡━━━━━━╇━━━━━━╇━━━━━━━━━┩
│ x.py │ –    │ Broken. │
└──────┴──────┴─────────┘

Totals by pool
┏━━━━━━┳━━━━━━━┳━━━━━━━━┳━━━━━━━━┳━━━━━━━┓
┃ Pool ┃ Files ┃ Failed ┃ Issues ┃  Busy ┃
┡━━━━━━╇━━━━━━━╇━━━━━━━━╇━━━━━━━━╇━━━━━━━┩
│ a    │     2 │      0 │      3 │ 1.00s │
│ b    │     0 │      0 │      0 │ 0.00s │
└──────┴───────┴────────┴────────┴───────┘

Totals by rule
┏━━━━━━┳━━━━━━━━┓
┃ Rule ┃ Issues ┃
┡━━━━━━╇━━━━━━━━┩
│ F401 │      2 │
│ B006 │      1 │
└──────┴────────┘

✓ 3 files of /srv/project: 3 issues, 1 failed, in 1.2 s on 2 pools with 4 workers

What ran
┏━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━┓
┃ Part  ┃ Address             ┃
┡━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━┩
│ redis │ redis://127.0.0.1:1 │
└───────┴─────────────────────┘

What to type next:
  mahavishnu pools list"""


def test_the_report_in_full() -> None:
    report = _report(
        _good("clean.py", 0), _good("bad.py", 3, F401=2, B006=1), FileResult("x.py", None, error="Broken.")
    )

    assert TableFormat().render(document(report)) == FULL_REPORT


def test_of_many_files_the_worst_are_shown_and_the_rest_is_counted() -> None:
    files = [_good(f"f{number}.py", number) for number in range(1000)]

    shown = document(_report(*files))
    text = TableFormat().render(shown)

    assert text.count(".py │") == MOST_ROWS
    assert "│ f999.py │" in text
    assert f"… and {1000 - MOST_ROWS} more files; all of them: make run FORMAT=json." in text
    assert len(shown.data["items"]) == 1000


def test_what_a_task_found_is_read_from_its_value() -> None:
    value = {"file": "a.py", "issues": 2, "by_rule": {"F401": 2}, "findings": []}

    found = file_result("a.py", task_result(value=value), pool_names={"pool_local": "local"})

    assert (found.issues, found.by_rule, found.pool, found.error) == (2, {"F401": 2}, "local", None)


def test_a_failed_task_is_a_failed_item_with_its_reason() -> None:
    failed = task_result(status="failed", error="'a.py' does not parse.", output=None)

    found = file_result("a.py", failed, pool_names={})

    assert (found.issues, found.error) == (None, "'a.py' does not parse.")


def test_a_task_without_an_error_text_says_how_it_ended() -> None:
    found = file_result("a.py", task_result(status="cancelled"), pool_names={})

    assert found.error == "The task ended as cancelled."
