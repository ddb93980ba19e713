"""The report of the demonstration: results of the tasks go in, a document comes out. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from mahavishnu_pools.cli.formats.interface import Block, Cell, Column, Document, Note, Table

if TYPE_CHECKING:
    from mahavishnu_pools.schemas.task import TaskResult

#: So many files, failures and rules are shown to people; the format json has all.
MOST_ROWS = 40


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one file. ``issues`` is None when it could not be analysed, then ``error`` says why."""

    file: str
    issues: int | None
    by_rule: Mapping[str, int] = field(default_factory=dict)
    pool: str | None = None
    worker: str | None = None
    duration: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """A part of the stack that can be reached, and where."""

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class Report:
    """Everything the demonstration found.

    ``seconds`` is the time from the first task to the last result; ``stays`` tells whether the stack stays up.
    """

    directory: str
    results: tuple[FileResult, ...]
    pools: tuple[str, ...]
    workers: int
    seconds: float
    addresses: tuple[Address, ...]
    next_steps: tuple[str, ...]
    stays: bool = False

    @property
    def failed(self) -> list[FileResult]:
        """Return the files that could not be analysed."""
        return [result for result in self.results if result.issues is None]

    @property
    def issues(self) -> int:
        """Return the number of findings."""
        return sum(result.issues or 0 for result in self.results)

    @property
    def by_rule(self) -> dict[str, int]:
        """Return the number of findings of each rule, the most frequent first."""
        counts: Counter[str] = Counter()
        for result in self.results:
            counts.update(result.by_rule)
        return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def file_result(file: str, result: TaskResult, *, pool_names: Mapping[str, str]) -> FileResult:
    """Return what a task found in its file; ``pool_names`` maps pool ids to names."""
    value = result.value if isinstance(result.value, dict) else {}
    issues, rules = value.get("issues"), value.get("by_rule")
    good = result.ok and isinstance(issues, int)
    return FileResult(
        file=file,
        issues=issues if good and isinstance(issues, int) else None,
        by_rule={rule: n for rule, n in rules.items() if isinstance(n, int)}
        if good and isinstance(rules, dict)
        else {},
        pool=pool_names.get(result.pool_id or "", result.pool_id),
        worker=result.worker_id,
        duration=result.duration,
        error=None if good else (result.error or f"The task ended as {result.status.value}."),
    )


def document(report: Report) -> Document:
    """Return the report as it is printed."""
    blocks: list[Block] = [*_files(report), *_failures(report), _pools(report), *_rules(report)]
    blocks += [Note(""), Note(_summary(report), good=True)]
    if report.addresses:
        title = "What runs" if report.stays else "What ran"
        rows = tuple((each.name, each.url) for each in report.addresses)
        blocks.append(Table(title, (Column("Part"), Column("Address")), rows))
    blocks += [Note(""), Note("What to type next:"), *(Note(f"  {step}") for step in report.next_steps)]
    return Document(_data(report), tuple(blocks))


def _files(report: Report) -> list[Block]:
    columns = (
        Column("File"),
        Column("Issues", "right"),
        Column("Pool"),
        Column("Worker"),
        Column("Duration", "right"),
    )
    good = [result for result in report.results if result.issues is not None]
    worst = sorted(good, key=lambda result: (-(result.issues or 0), result.file))[:MOST_ROWS]
    rows = tuple((one.file, one.issues, one.pool, one.worker, _seconds(one.duration)) for one in worst)
    return [Table("Findings per file", columns, rows), *_left_out(len(good) - len(worst), "files")]


def _failures(report: Report) -> list[Block]:
    rows: tuple[tuple[Cell, ...], ...] = tuple((one.file, one.pool, one.error) for one in report.failed[:MOST_ROWS])
    if not rows:
        return []
    columns = (Column("File"), Column("Pool"), Column("Why"))
    return [Table("Failed items", columns, rows), *_left_out(len(report.failed) - len(rows), "failed items")]


def _pools(report: Report) -> Table:
    columns = (
        Column("Pool"),
        Column("Files", "right"),
        Column("Failed", "right"),
        Column("Issues", "right"),
        Column("Busy", "right"),
    )
    rows = tuple(_pool_row(pool, [one for one in report.results if one.pool == pool]) for pool in report.pools)
    return Table("Totals by pool", columns, rows)


def _pool_row(pool: str, results: Sequence[FileResult]) -> tuple[Cell, ...]:
    failed = sum(one.issues is None for one in results)
    busy = sum(one.duration or 0.0 for one in results)
    return (pool, len(results), failed, sum(one.issues or 0 for one in results), _seconds(busy))


def _rules(report: Report) -> list[Block]:
    rows = tuple(report.by_rule.items())
    if not rows:
        return []
    columns = (Column("Rule"), Column("Issues", "right"))
    return [Table("Totals by rule", columns, rows[:MOST_ROWS]), *_left_out(len(rows) - MOST_ROWS, "rules")]


def _summary(report: Report) -> str:
    failed = f", {len(report.failed)} failed" if report.failed else ""
    return (
        f"{len(report.results)} files of {report.directory}: {report.issues} issues{failed}, "
        f"in {report.seconds:.1f} s on {len(report.pools)} pools with {report.workers} workers"
    )


def _data(report: Report) -> dict[str, Any]:
    return {
        "directory": report.directory,
        "files": len(report.results),
        "issues": report.issues,
        "failed": len(report.failed),
        "seconds": round(report.seconds, 3),
        "items": [asdict(result) for result in report.results],
        "pools": list(report.pools),
        "by_rule": report.by_rule,
        "addresses": [asdict(address) for address in report.addresses],
        "next": list(report.next_steps),
    }


def _left_out(count: int, what: str) -> list[Block]:
    return [Note(f"… and {count} more {what}; all of them: make run FORMAT=json.")] if count > 0 else []


def _seconds(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}s"
