"""Configuration of the embedded server: loopback, a password, an append-only file; the password is in no argument."""

from __future__ import annotations

import re
import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path

from mahavishnu_pools.embedded.data_dir import write_private

#: The embedded server listens here and nowhere else.
HOST = "127.0.0.1"

_TEMPLATE = """\
bind {host}
port {port}
protected-mode yes
requirepass {password}
{also}daemonize no
supervised no
set-proc-title no
pidfile "{db}/server.pid"
logfile ""
dir "{db}"
save ""
appendonly yes
appendfsync {fsync}
maxmemory-policy noeviction
tcp-keepalive 60
timeout 0
"""

#: Beside the password the server accepts another one, until a rotation is finished.
_ALSO = "user default on >{password} >{also} ~* &* +@all\n"

_LINE = re.compile(r"^(port|requirepass) (\S+)$", re.MULTILINE)
_ALSO_LINE = re.compile(r"^user default on >\S+ >(\S+) ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where the embedded server listens, and its password; ``also`` is an older one that it still accepts."""

    port: int
    password: str = field(repr=False)
    also: str | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """The URL with the password in it."""
        return f"redis://:{self.password}@{HOST}:{self.port}/0"


def config_file(db: Path) -> Path:
    """Return the server's configuration file."""
    return db / "server.conf"


def pid_file(db: Path) -> Path:
    """Return the file the server writes its pid to."""
    return db / "server.pid"


def configured_address(db: Path) -> ServerAddress | None:
    """Return what the configuration file of an earlier start says; None before the first one."""
    try:
        text = config_file(db).read_text()
    except OSError:
        return None
    found, also = dict(_LINE.findall(text)), _ALSO_LINE.search(text)
    if len(found) != 2:
        return None
    return ServerAddress(int(found["port"]), found["requirepass"], also[1] if also else None)


def change_password(db: Path, password: str, *, also: str | None) -> None:
    """Have the configuration file say another password, and an older one that is still accepted (None: none is).

    A server that runs does not notice.
    """
    path = config_file(db)
    kept = [
        line for line in path.read_text().splitlines(keepends=True) if not line.startswith(("requirepass ", "user "))
    ]
    more = _ALSO.format(password=password, also=also) if also else ""
    write_private(path, "".join([*kept, f"requirepass {password}\n", more]))


def write_config(db: Path, *, port: int, keep_port: bool, strict: bool) -> ServerAddress:
    """Write the configuration and return the address.

    Args:
        db: the server's directory.
        port: 0: the earlier one when it is free, else any free one.
        keep_port: take the earlier port even when it is in use just now, because others know it already.
        strict: sync every write to disk before it is acknowledged, instead of once a second.
    """
    earlier = configured_address(db)
    password = earlier.password if earlier else secrets.token_urlsafe(24)
    also = earlier.also if earlier else None
    address = ServerAddress(port or _choose_port(earlier, keep=keep_port), password, also)
    text = _TEMPLATE.format(
        host=HOST,
        port=address.port,
        password=password,
        also=_ALSO.format(password=password, also=also) if also else "",
        db=_quoted(db),
        fsync="always" if strict else "everysec",
    )
    write_private(config_file(db), text)
    return address


def port_is_free(port: int) -> bool:
    """Tell whether a server could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def _choose_port(earlier: ServerAddress | None, *, keep: bool) -> int:
    if earlier is not None and (keep or port_is_free(earlier.port)):
        return earlier.port
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _quoted(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace('"', '\\"')
