"""``python -m tests.acceptance.seeds DIR [--only TEXT]``: runs them all; exit code 1 when one of them fails."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.acceptance.seeds.running import Report, run_all

_ICONS = {"passed": "✓", "failed": "✗", "cannot run": "–"}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance.seeds", description=__doc__)
    parser.add_argument("directory", nargs="?", default=os.environ.get("MAHAVISHNU_SEEDS"), help="of the documents")
    parser.add_argument("--only", default="", metavar="TEXT", help="only what holds this text")
    options = parser.parse_args(arguments)
    if options.directory is None:
        parser.error("name the directory of the documents, or set MAHAVISHNU_SEEDS")
    logging.getLogger().addHandler(
        logging.NullHandler()
    )  # examples leave managers open; that their stack ends is no news
    with tempfile.TemporaryDirectory(prefix="seeds-") as base:
        reports = asyncio.run(run_all(Path(options.directory).resolve(), Path(base), only=options.only, say=_say))
    counts = {word: sum(one.outcome == word for one in reports) for word in _ICONS}
    print(", ".join(f"{count} {word}" for word, count in counts.items()))
    return 1 if counts["failed"] or not reports else 0


def _say(report: Report) -> None:
    reason = f"\n    {report.reason}" if report.reason else ""
    print(f"{_ICONS[report.outcome]} {report.place} {report.title}{reason}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
