"""Every command line the original documents print for these commands is understood as printed."""

from __future__ import annotations

import json
import shlex

import pytest

from mahavishnu_pools.cli.main import run
from mahavishnu_pools.cli.session import Session
from tests.fakes.cli_manager import FakeManager

#: Verbatim, with the documents' placeholders filled in; ``\\`` at a line's end was joined.
AS_PRINTED = [
    "mahavishnu pools --help",
    "mahavishnu pools list",
    "mahavishnu pools list --active-only",
    "mahavishnu pools list --active-only --by-type kubernetes",
    "mahavishnu pools list --format json",
    "mahavishnu pools list --format table",
    "mahavishnu pools list --format markdown",
    "mahavishnu pools get local-pool",
    "mahavishnu pools get local-pool --format json",
    'mahavishnu pools register --name "new-pool" --type "mahavishnu" --min-workers 2 --max-workers 5',
    (
        'mahavishnu pools register --name "new" --type "mahavishnu" --min-workers 2 --max-workers 10'
        ' --worker-type "terminal-qwen"'
    ),
    'mahavishnu pools register --name "delegated" --type "session-buddy" --endpoint "http://localhost:8678/mcp"',
    (
        'mahavishnu pools register --name "cloud-pool" --type "kubernetes" --namespace "mahavishnu"'
        ' --container-image "python:3.13-slim" --region "us-west-2"'
    ),
    'mahavishnu pools register --name "cloud-pool" --type "kubernetes" --region "us-west-2" --max-workers 20',
    "mahavishnu pools register --name again --type mahavishnu",
    "mahavishnu pools register -n short -t mahavishnu -w 5 -m 2 -r eu",
    'mahavishnu pools execute --pool "local-pool" --task-type "analyze" --payload \'{"file": "test.py"}\'',
    'mahavishnu pools execute --auto-route --task-type "compute" --payload \'{"query": "SELECT * FROM users"}\'',
    'mahavishnu pools execute --auto-route --task-type "compute" --payload \'{"query": "..."}\'',
    'mahavishnu pools execute --pool "local-pool" --task-type "process" --payload \'{"data": [1]}\' --timeout 600',
    "mahavishnu pools execute -p local-pool -t process -T 600 -f json --payload '{}'",
    'mahavishnu pools distribute --task-type "transform" --payload \'{"items": [1, 2, 3, 4, 5]}\' --strategy broadcast',
    (
        'mahavishnu pools distribute --task-type "analyze" --payload \'{"files": ["a.py", "b.py", "c.py"]}\''
        " --strategy map_reduce --pool-filter kubernetes"
    ),
    'mahavishnu pools distribute --task-type "process" --payload \'{"batch": [1]}\' --strategy round_robin',
    'mahavishnu pools distribute --task-type "transform" --payload \'{"items": [1]}\' --strategy map_reduce',
    "mahavishnu pools distribute -t transform --payload '{\"items\": [1]}' -s random -T 5 -f markdown",
    "mahavishnu pools health",
    "mahavishnu pools health --all",
    "mahavishnu pools health -a",
    "mahavishnu pools health --pool local-pool",
    "mahavishnu pools health -p local-pool -f json",
    "mahavishnu pools task task_abc123",
    "mahavishnu pools task task_abc123 --format json",
    "mahavishnu pools cancel task_abc123",
    "mahavishnu pools stats",
    "mahavishnu pools stats --by-type",
    "mahavishnu pools stats --format json",
    "mahavishnu pool spawn --type mahavishnu --name new-local --min 3 --max 10",
    'mahavishnu pool execute pool_abc --prompt "Write code"',
    'mahavishnu pool route --prompt "Write code" --selector least_loaded',
    "mahavishnu pool list",
    "mahavishnu pool health",
    "mahavishnu pool scale pool_abc --target 20",
    "mahavishnu pool close pool_abc",
]

#: Printed in the documents but not to be run: a placeholder stands for the input, or the input is missing.
PLACEHOLDERS = [
    ("mahavishnu pools execute --pool p --task-type process --payload '{\"data\": [...]}' --timeout 600", "--payload"),
    ("mahavishnu pools distribute --task-type process --payload '{\"batch\": [...]}' -s round_robin", "--payload"),
    ("mahavishnu pools distribute --task-type transform --payload '{\"items\": [...]}' -s map_reduce", "--payload"),
    ("mahavishnu pools execute --format progress", "--prompt"),
]


@pytest.mark.parametrize("line", AS_PRINTED)
def test_a_printed_command_works_as_printed(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    manager = FakeManager()

    code = run(shlex.split(line)[1:], session=Session(lambda: manager))

    printed = capsys.readouterr()
    assert code == 0, printed.err
    assert printed.out.strip()
    if "--format json" in line or "-f json" in line:
        json.loads(printed.out)


@pytest.mark.parametrize(("line", "option"), PLACEHOLDERS)
def test_a_placeholder_is_refused_and_named(line: str, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    manager = FakeManager()

    code = run(shlex.split(line)[1:], session=Session(lambda: manager))

    printed = capsys.readouterr()
    assert code == 2
    assert printed.out == ""
    assert option in printed.err
    assert manager.calls == []


def test_both_group_names_hold_the_same_commands(capsys: pytest.CaptureFixture[str]) -> None:
    helps = []
    for group in ("pool", "pools"):
        run([group, "--help"], session=Session(FakeManager))
        helps.append(capsys.readouterr().out.split("\n", 1)[1])

    assert helps[0] == helps[1]
