"""Task type ``analyze``: static analysis of Python files with ruff."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from mahavishnu_pools.schemas.task import Outcome
from mahavishnu_pools.task_types import AnalyzePayload, task_type

from ..executors.interface import Refused, RunContext
from ..executors.workdir import TO_ALLOW, is_inside
from ..executors.workspace import Plan, Workspace, open_workspace

#: Rules that find likely mistakes and needless complexity, and say little about taste.
DEFAULT_RULES = ("B", "C4", "C901", "E4", "E7", "E9", "F", "PERF", "PLE", "RET", "SIM", "W6")

#: How many findings a result lists; all are counted.
_LISTED_FINDINGS = 50

#: How many file names a result lists; the counts cover all.
_LISTED_FILES = 1000

#: A JSON report larger than this is refused (bytes).
_MAX_REPORT = 64 * 1024 * 1024

#: How much of a file is looked at to tell whether it is text, in bytes.
_PROBE = 65536

_NOT_PARSED = frozenset({"invalid-syntax", "E999", "E902"})


@dataclass(frozen=True, slots=True)
class _Report:
    """What ruff says: findings in files that parse, and why the others do not, by file."""

    findings: list[dict[str, Any]]
    unparsed: dict[str, str]


@task_type("analyze", payload=AnalyzePayload, mode="call")
def analyze(payload: AnalyzePayload, context: RunContext) -> Outcome:
    """Analyse the files; one that is missing, unreadable, binary or does not parse makes the task fail.

    Raises:
        Refused: a file cannot be used, or ruff is not installed.
    """
    with open_workspace(context) as workspace:
        named = payload.files or [payload.file or payload.path or ""]
        paths = [workspace.cwd / name for name in named]
        roots = context.allowed_roots and (*context.allowed_roots, workspace.cwd)
        whole = payload.path is not None and paths[0].is_dir()
        if whole and (outside := _outside(paths[0], roots)) is not None:
            raise Refused(outside)
        targets = _below(paths[0]) if whole else paths
        bad = {str(path): why for path in targets if (why := _outside(path, roots) or _problem(path)) is not None}
        if bad and len(targets) == 1:
            raise Refused(next(iter(bad.values())))
        good = [path for path in targets if str(path) not in bad]
        report = _run_ruff(workspace, payload, good)
        if isinstance(report, Outcome):
            return report
        failures = {**bad, **report.unparsed}
        single = named[0] if len(targets) == 1 and len(named) == 1 else None
        outcome = _outcome(single, targets, findings=report.findings, failures=failures)
        context.log.write("stdout", (outcome.output or outcome.error or "").encode() + b"\n")
        return outcome


def _below(directory: Path) -> list[Path]:
    found: list[Path] = []
    for root, names, files in os.walk(directory):
        names[:] = sorted(
            name for name in names if not name.startswith(".") and name not in {"__pycache__", "node_modules"}
        )
        found += [Path(root, name) for name in sorted(files) if name.endswith((".py", ".pyi"))]
    if not found:
        raise Refused(f"payload.path: there is no Python file below {str(directory)!r}.")
    return found


def _outside(path: Path, roots: tuple[Path, ...]) -> str | None:
    """Return why a file may not be read, or None; links count as what they lead to, and no roots as no limit."""
    try:
        real = path.resolve()
    except (OSError, RuntimeError, ValueError) as exc:  # a link to itself, a NUL in the name
        return f"{str(path)!r} cannot be read: {exc}."
    if not roots or is_inside(real, roots):
        return None
    listed = ", ".join(dict.fromkeys(str(root) for root in roots))
    return f"{str(path)!r} is outside the allowed roots: {listed}. Name files below one of them, or {TO_ALLOW}"


def _problem(path: Path) -> str | None:
    """Return why a file cannot be analysed, or None."""
    try:
        if path.is_dir():
            return f"{str(path)!r} is a directory. Name files, or give it as path."
        if path.exists() and not path.is_file():
            return f"{str(path)!r} is no ordinary file."
        with path.open("rb") as file:
            beginning = file.read(_PROBE)
    except FileNotFoundError:
        return f"{str(path)!r} does not exist on this machine."
    except OSError as exc:
        return f"{str(path)!r} cannot be read: {exc.strerror}."
    return f"{str(path)!r} is no text file: it holds NUL bytes." if b"\0" in beginning else None


def _run_ruff(workspace: Workspace, payload: AnalyzePayload, paths: Sequence[Path]) -> _Report | Outcome:
    if not paths:
        return _Report([], unparsed={})
    argv = [_ruff(workspace), "check", "--output-format", "json", "--no-cache", "--exit-zero", "--no-fix", "--quiet"]
    if not payload.use_project_config:
        argv.append("--isolated")
    if payload.rules or not payload.use_project_config:
        argv += ["--select", ",".join(payload.rules or DEFAULT_RULES)]
    argv += ["--", *map(str, paths)]
    # One thread each: many of these run at once, one per worker.
    env = {"RAYON_NUM_THREADS": "1"} if len(paths) < _LISTED_FINDINGS else {}
    finished = workspace.run(Plan(tuple(argv), env=env, keep_bytes=_MAX_REPORT, log_stdout=False))
    if not finished.succeeded:
        return workspace.outcome(finished, output="")
    if not finished.stdout.complete:
        raise Refused("ruff reports too much to be kept. Analyse fewer files at once.")
    return _read_report(finished.stdout.content())


def _ruff(workspace: Workspace) -> str:
    beside = Path(sys.executable).with_name("ruff")
    found = str(beside) if beside.is_file() else shutil.which("ruff", path=workspace.environment.variables.get("PATH"))
    if found is None:
        raise Refused("The program 'ruff' is not installed on this worker. Install it with: pip install ruff")
    return found


def _read_report(content: bytes) -> _Report:
    try:
        entries = json.loads(content or b"[]")
    except ValueError as exc:
        raise Refused("ruff gave no readable report. Check the installed version of ruff.") from exc
    findings: list[dict[str, Any]] = []
    unparsed: dict[str, str] = {}
    for entry in entries:
        name, row = str(entry.get("filename")), (entry.get("location") or {}).get("row")
        if entry.get("code") is None or entry["code"] in _NOT_PARSED:
            unparsed.setdefault(name, f"{name!r} does not parse: line {row}: {entry.get('message')}.")
        else:
            findings.append({"file": name, "line": row, "rule": entry["code"], "message": entry.get("message")})
    return _Report([finding for finding in findings if finding["file"] not in unparsed], unparsed=unparsed)


def ranked_counts(counts: Counter[str]) -> dict[str, JsonValue]:
    """Return the counts with the largest first, equal ones by name."""
    return {name: counts[name] for name in sorted(counts, key=lambda name: (-counts[name], name))}


def _outcome(
    single: str | None, targets: Sequence[Path], *, findings: list[dict[str, Any]], failures: dict[str, str]
) -> Outcome:
    by_rule = Counter(finding["rule"] for finding in findings)
    ranked = ranked_counts(by_rule)
    names: list[JsonValue] = [str(path) for path in targets[:_LISTED_FILES]]
    where: dict[str, JsonValue] = {"files": names, "file_count": len(targets)} if single is None else {"file": single}
    listed: list[JsonValue] = [dict(finding) for finding in findings[:_LISTED_FINDINGS]]
    value: dict[str, JsonValue] = {**where, "issues": len(findings), "by_rule": ranked, "findings": listed}
    output = f"Analysis complete: {len(findings)} issues found"
    if not failures:
        return Outcome(status="completed", output=output, value=value, exit_code=0)
    first = next(iter(failures.values()))
    error = (
        first
        if len(targets) == 1
        else f"{len(failures)} of {len(targets)} files cannot be analysed. The first: {first}"
    )
    value["failures"] = {**dict(list(failures.items())[:_LISTED_FILES])}
    return Outcome(status="failed", output=output if len(failures) < len(targets) else "", value=value, error=error)
