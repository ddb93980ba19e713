"""The command lines of the documents on a real stack, each form once, as somebody would type them in turn."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from mahavishnu_pools.cli.main import run
from mahavishnu_pools.cli.pool_reading import read_pools
from mahavishnu_pools.cli.session import Session, submitter_directory
from mahavishnu_pools.embedded.private import PrivateStack

Type = Callable[..., str]


@pytest.fixture
def type_in(
    running_stack: PrivateStack, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Type:
    """Return a function that runs a printed line, where some Python files lie, and returns what it shows."""
    monkeypatch.delenv("MAHAVISHNU_REDIS_URL")
    monkeypatch.setenv("MAHAVISHNU_DATA_DIR", str(running_stack.data_dir))
    for name in ("test", "a", "b", "c"):
        (tmp_path / f"{name}.py").write_text("import os\n")

    def typed(line: str, *, code: int = 0) -> str:
        words = shlex.split(line.replace("\\\n", " "))
        found = run(words[1:], session=Session(reader=read_pools, directory=submitter_directory))
        printed = capsys.readouterr()
        assert found == code, f"{line}\n{printed.err}"
        return printed.out + printed.err

    return typed


def test_the_quick_start_of_the_command_line_document(type_in: Type) -> None:
    assert "register" in type_in("mahavishnu pools --help")
    made = type_in("""mahavishnu pools register \\
        --name "local-pool" \\
        --type "mahavishnu" \\
        --min-workers 2 \\
        --max-workers 5""")
    listed = type_in("mahavishnu pools list")
    active = type_in("mahavishnu pools list --active-only")
    analysed = type_in("""mahavishnu pools execute \\
        --pool "local-pool" \\
        --task-type "analyze" \\
        --payload '{"file": "test.py"}'""")
    watched = type_in("mahavishnu pools watch --refresh 0.1 --count 2")

    assert "Workers: 2 (2-5)" in made
    for text in ("Active Pools", "local-pool", "● running", "2-5"):
        assert text in listed
    assert "local-pool" in active
    assert re.search(r"✓ Routed to pool: pool_\w+\n", analysed)
    assert "✓ Task completed\n  Status: completed\n  Output: Analysis complete: 1 issue" in analysed
    assert watched.count("local-pool running") == 2


@pytest.mark.slow
def test_lists_figures_and_health_are_shown_in_every_format(type_in: Type) -> None:
    type_in('mahavishnu pools register --name "local-pool" --type "mahavishnu" --worker-type "terminal-qwen"')

    data = json.loads(type_in("mahavishnu pools list --format json"))
    assert data["pools"][0]["name"] == "local-pool"
    assert "| Pool ID | Name | Type | Status | Workers | Region |" in type_in("mahavishnu pools list --format markdown")
    assert type_in("mahavishnu pools list --format table") == type_in("mahavishnu pools list -f table")
    assert "No pools" in type_in("mahavishnu pools list --active-only --by-type kubernetes")
    details = type_in("mahavishnu pools get local-pool")
    for text in (
        "Pool: pool_",
        "Status: ● RUNNING",
        "Region: default",
        "Metrics:",
        "Tasks Completed: 0",
        "Tasks Failed: 0",
    ):
        assert text in details
    assert json.loads(type_in("mahavishnu pools get local-pool --format json"))["pool_type"] == "mahavishnu"
    for line in (
        "mahavishnu pools health",
        "mahavishnu pools health --all",
        "mahavishnu pools health --pool local-pool",
    ):
        shown = type_in(line)
        assert "Pool Manager Health: HEALTHY" in shown
        assert "Active Pools: 1" in shown
    assert "Total Workers" in type_in("mahavishnu pools stats")
    assert "mahavishnu_workers" in type_in("mahavishnu pools stats --by-type")
    assert json.loads(type_in("mahavishnu pools stats --format json"))["pools"] == 1
    assert "local-pool" in type_in("mahavishnu pool monitor --count 1")


@pytest.mark.slow
def test_tasks_run_on_one_pool_on_the_best_one_and_on_all(type_in: Type) -> None:
    for name in ("local-pool", "other-pool"):
        type_in(f'mahavishnu pools register --name "{name}" --type "mahavishnu" --max-workers 20')

    routed = type_in("""mahavishnu pools execute --auto-route --task-type "compute" \\
        --payload '{"query": "SELECT * FROM users"}'""")
    spread = type_in("""mahavishnu pools distribute --task-type "transform" \\
        --payload '{"items": [1, 2, 3, 4, 5]}' --strategy broadcast""")
    reduced = type_in("""mahavishnu pools distribute --task-type "analyze" \\
        --payload '{"files": ["a.py", "b.py", "c.py"]}' --strategy map_reduce --pool-filter mahavishnu""")
    task = json.loads(type_in("mahavishnu pools execute --pool local-pool --prompt hi --format json"))["task_id"]

    assert "Done: " in routed
    assert "Distributing task across 2 pools" in spread
    assert "  Total: 2\n  Successful: 2\n  Failed: 0\n" in spread
    assert "  Strategy: map_reduce\n" in reduced
    assert "  Total: 3\n  Successful: 3\n  Failed: 0\n" in reduced
    assert f"Task: {task}\nStatus: COMPLETED" in type_in(f"mahavishnu pools task {task}")
    assert json.loads(type_in(f"mahavishnu pools task {task} --format json"))["status"] == "completed"
    assert "had ended before" in type_in(f"mahavishnu pools cancel {task}")
    assert "workers" in type_in("mahavishnu pool scale local-pool --target 20")
    type_in("mahavishnu pools rebalance --strategy least_loaded")
    type_in("mahavishnu pools rebalance -s round_robin")
    type_in("mahavishnu pool close local-pool")
    type_in("mahavishnu pools register --name local-pool --type mahavishnu")


@pytest.mark.slow
def test_the_older_commands_and_their_successors(type_in: Type) -> None:
    workers = type_in("mahavishnu workers spawn --type terminal-qwen --count 3")
    answers = type_in('mahavishnu workers execute --prompt "Write code" --count 3')
    type_in("mahavishnu pool spawn --type mahavishnu --name local --min 3 --max 10")
    pool_id = json.loads(type_in("mahavishnu pools get local -f json"))["pool_id"]

    assert "Workers: 3" in workers
    assert answers.count("Done: Write code") == 3
    assert "Done: Write code" in type_in(f'mahavishnu pool execute {pool_id} --prompt "Write code"')
    assert "Done: Write code" in type_in('mahavishnu pool route --prompt "Write code" --selector least_loaded')
    assert "local" in type_in("mahavishnu pool list")
    assert "HEALTHY" in type_in("mahavishnu pool health")


@pytest.mark.slow
def test_pools_are_discovered_from_the_ecosystem(type_in: Type) -> None:
    Path("ecosystem.yaml").write_text("pools: [{name: found-here, type: mahavishnu}]\n")

    assert "○ found" in type_in("mahavishnu pools discover --from-ecosystem")
    assert "✓ registered" in type_in("mahavishnu pools discover --from-ecosystem --auto-register")
    assert "found-here" in type_in("mahavishnu pools list")


@pytest.mark.slow
def test_what_helps_in_trouble(type_in: Type) -> None:
    type_in("mahavishnu pools register --name local-pool --type mahavishnu")
    type_in("mahavishnu pools execute local-pool --prompt 'a test of the parser'")

    assert "terminal-qwen" in type_in("mahavishnu validate-production --check configuration")
    assert "a test of the parser" in type_in('mahavishnu pool search-memory --query "test"')


@pytest.mark.parametrize(
    ("line", "missing"),
    [
        ("mahavishnu pools execute --pool local-pool --task-type process --payload '{\"data\": [...]}'", "--payload"),
        ("mahavishnu pools distribute --task-type process --payload '{\"batch\": [...]}'", "--payload"),
        ("mahavishnu pools execute --format progress", "--prompt"),
    ],
)
def test_what_is_only_a_placeholder_is_refused_by_name(type_in: Type, line: str, missing: str) -> None:
    assert missing in type_in(line, code=2)
