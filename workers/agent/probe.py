"""``python -m mahavishnu_workers.agent.probe alive | ready``: what the kubelet asks about a Pod. It imports little."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .vitals import complaint

_USAGE = "usage: python -m mahavishnu_workers.agent.probe alive | ready (with MAHAVISHNU_DATA_DIR)\n"


def main(arguments: list[str]) -> int:
    """Return 0 when it is so, 1 with the reason on stderr when not, 2 for a wrong command line."""
    directory = os.environ.get("MAHAVISHNU_DATA_DIR")
    if arguments not in (["alive"], ["ready"]) or not directory:
        sys.stderr.write(_USAGE)
        return 2
    problem = complaint(Path(directory), about=arguments[0])
    if problem is not None:
        sys.stderr.write(f"{problem}\n")
    return 0 if problem is None else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
