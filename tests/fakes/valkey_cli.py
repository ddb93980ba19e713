#!/usr/bin/env python
"""Stands in for valkey-cli where there is none: ``valkey-cli -p PORT COMMAND…`` with the password in REDISCLI_AUTH."""

from __future__ import annotations

import argparse
import os
import sys

import redis


def main() -> int:
    parser = argparse.ArgumentParser(prog="valkey-cli")
    parser.add_argument("-p", dest="port", type=int, default=6379)
    parser.add_argument("command", nargs="+")
    given = parser.parse_args()
    client = redis.Redis(port=given.port, password=os.environ.get("REDISCLI_AUTH"), decode_responses=True)
    try:
        client.connection_pool.get_connection().disconnect()
        answer = client.execute_command(*given.command)
    except redis.ConnectionError as exc:
        sys.stderr.write(f"Could not connect to Valkey: {exc}\n")
        return 1
    except redis.RedisError as exc:  # the real one tells of errors of the server and ends with 0
        answer = f"(error) {exc}"
    sys.stdout.write(f"{'PONG' if answer is True else answer}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
