"""An agent that looks at its pools once and then never again of itself: it does what it is told of, or nothing."""

from __future__ import annotations

import sys

from workers.agent import registry
from workers.agent.__main__ import main

if __name__ == "__main__":
    registry.FULL_LOOK = 3600.0
    sys.exit(main())
