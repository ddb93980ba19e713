"""Ports of the parts that listen: free ones are taken from where the kernel gives none to outgoing connections."""

from __future__ import annotations

import random
import socket

from mahavishnu_pools.embedded.valkey import port_is_free

#: Free ports are looked for here first: a connection that leaves this machine never has one of them.
FIRST, LAST = 20_000, 32_000

_TRIES = 50


def choose_port() -> int:
    """Return a port that is free on loopback now."""
    for _ in range(_TRIES):
        port = random.randint(FIRST, LAST)
        if port_is_free(port):
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
