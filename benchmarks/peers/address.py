"""Where the applications of the peers find the server: each has a database of its own."""

from __future__ import annotations

import os

#: Names the server, without a database.
VARIABLE = "BENCH_PEERS_SERVER"

#: The database of each peer.
DATABASES = {"celery": 1, "dramatiq": 2, "taskiq": 3, "huey": 4, "rq": 5, "loop": 6}


def url_of(peer: str) -> str:
    """Return the URL of a peer's database."""
    return f"{os.environ[VARIABLE]}/{DATABASES[peer]}"
