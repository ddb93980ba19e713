"""Where the agent's log goes: standard error, which the stack keeps in a file."""

from __future__ import annotations

import logging
import os

#: Variable with the name of the lowest level that is logged.
LEVEL_VARIABLE = "MAHAVISHNU_LOG_LEVEL"


def set_up_logging() -> None:
    """Log to standard error; an unknown level in the environment counts as INFO."""
    wanted = logging.getLevelName(os.environ.get(LEVEL_VARIABLE, "INFO").upper())
    logging.basicConfig(
        level=wanted if isinstance(wanted, int) else logging.INFO,
        format="%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s",
    )
    # A line for each request would hide everything else where prompts are delegated.
    logging.getLogger("httpx").setLevel(logging.WARNING)
