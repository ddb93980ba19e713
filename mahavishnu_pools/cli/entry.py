"""Where the program starts: Ctrl-C ends it with 130 and one line, also while it is still being loaded.

The rest of the program is imported with a handler in place; until then Python's own one would print where it stood.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

_INTERRUPTED = 130


def main() -> int:
    """Run the program and return its exit code."""
    # Who started it may have wanted it to ignore Ctrl-C, as shells do of what they run in the background.
    guarded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    try:
        if guarded:
            signal.signal(signal.SIGINT, _leave)
        from mahavishnu_pools.cli.main import main as program

        if guarded:
            # Now it is caught, and asyncio looks for this very handler.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        code = program()
        if guarded:
            signal.signal(signal.SIGINT, _leave)
    except KeyboardInterrupt:  # before or after what catches it
        sys.stderr.write("Interrupted.\n")
        return _INTERRUPTED
    return code


def _leave(_: int, __: FrameType | None) -> None:
    """End at once: nothing was begun yet, or all of it has ended and been told."""
    os.write(2, b"Interrupted.\n")
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main())
