"""Ports of the parts that listen: free ones are taken from where the kernel gives none to outgoing connections."""

from __future__ import annotations

import json
import logging
import random
import socket
import sys
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from mahavishnu_pools.embedded.data_dir import write_private
from mahavishnu_pools.embedded.part_run import PartRun
from mahavishnu_pools.embedded.state import PartStatus, StackState
from mahavishnu_pools.embedded.valkey import port_is_free

logger = logging.getLogger(__name__)

#: Free ports are looked for here first: a connection that leaves this machine never has one of them.
FIRST, LAST = 20_000, 32_000

_TRIES = 50


def give_ports(runs: Iterable[PartRun], earlier: StackState | None, *, file: Path) -> list[socket.socket]:
    """Give every part that listens its port: others are told the URL before it is started.

    A port that is to be any free one is that of the last start (``file`` has it) if it is free.

    Returns:
        What keeps other stacks from choosing the same ports, for as long as it is kept.
    """
    listening = [run for run in runs if run.part.port is not None]
    ports = {run.part.name: port for run in listening if (port := run.part.port or _known_port(run, earlier))}
    wanted = remembered(file)
    for run in listening:
        name = run.part.name
        # None listens yet, so two could be given the same free port.
        ports[name] = ports.get(name) or choose_port(wanted=wanted.get(name), taken=ports.values())
        run.listens_on(ports[name])
    remember(file, wanted | ports)
    return [held for port in ports.values() if (held := hold(port)) is not None]


def hold(port: int) -> socket.socket | None:
    """Take a free port, so that nobody else chooses it before our server listens there; None: that cannot be done.

    Only Linux lets one socket listen where another one is bound. The server must ask for that (SO_REUSEADDR), as
    servers do that want to be started again at once.
    """
    if sys.platform != "linux":
        return None
    held = socket.socket()
    try:
        held.bind(("127.0.0.1", port))
    except OSError:
        held.close()
        return None
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return held


def choose_port(*, wanted: int | None = None, taken: Collection[int] = ()) -> int:
    """Return a port that is free on loopback now: the wanted one if it is, and never one of those that are taken."""
    if wanted is not None and wanted not in taken and port_is_free(wanted):
        return wanted
    for _ in range(_TRIES):
        port = random.randint(FIRST, LAST)
        if port not in taken and not _is_held(port):
            return port
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in taken:
            return port


def _is_held(port: int) -> bool:
    """Tell whether somebody listens on a port, or holds it to do so soon, or just did."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def remembered(file: Path) -> dict[str, int]:
    """Return the ports that ``remember`` wrote, by name of part; none when the file is missing or not ours."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: port for name, port in found.items() if isinstance(port, int)} if isinstance(found, dict) else {}


def remember(file: Path, ports: Mapping[str, int]) -> None:
    """Keep the ports for the next start. A stack whose disk is full works without."""
    try:
        write_private(file, json.dumps(dict(ports)))
    except OSError as exc:
        logger.warning("The ports of the parts are not kept for the next start: %s", exc)


def _known_port(run: PartRun, earlier: StackState | None) -> int | None:
    """Return the port on which a part of the stack that is taken over listens, or did until it died."""
    before = earlier.part(run.part.name) if earlier is not None else None
    own = before is not None and before.status is not PartStatus.EXTERNAL
    return urlsplit(before.url).port if own and before is not None and before.url else None
