"""The options of every connection to Redis that is ours."""

from __future__ import annotations

from typing import Any

import redis
from redis.driver_info import DriverInfo

_OPTIONS: dict[str, Any] = {
    "decode_responses": True,
    "encoding_errors": "surrogateescape",
    "health_check_interval": 0,
}


def client_options(url: str) -> dict[str, Any]:
    """Return redis-py's options for a URL, beside how often it tries and waits."""
    options = dict(_OPTIONS)
    if not url.startswith("unix://"):  # a socket file has no such option
        options["socket_keepalive"] = True
    if "lib_name=" not in url and "lib_version=" not in url:
        # Without it, every connection reads the files of the installed package for its own version.
        options["driver_info"] = DriverInfo(lib_version=redis.__version__)
    return options
