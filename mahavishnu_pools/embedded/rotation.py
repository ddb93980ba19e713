"""Changes the password of the embedded server: old and new are accepted together until the rotation is finished."""

from __future__ import annotations

import secrets

import redis
from redis.exceptions import RedisError

from mahavishnu_pools import errors
from mahavishnu_pools.embedded import stack, valkey
from mahavishnu_pools.embedded.data_dir import DataDir
from mahavishnu_pools.embedded.identity import is_alive
from mahavishnu_pools.embedded.roots import Where
from mahavishnu_pools.embedded.state import StackState, read_state
from mahavishnu_pools.settings import Settings


def rotate(settings: Settings) -> StackState | None:
    """Give the server of a data directory another password; a stack that runs is started again with it.

    Running tasks go on for ``drain_timeout``; what runs longer runs again, and what waits, waits. The older password is
    accepted until ``finish``, so that agents and programs elsewhere can be given the new one. None: no stack runs.

    Raises:
        InvalidConfig: the server is not the stack's own.
        StackNotRunning: there never was a stack.
        InvalidField: an earlier rotation is not finished.
        StackPartFailed: the stack does not come up again.
    """
    data, address = _own_server(settings)
    if address.also is not None:
        raise errors.InvalidField.of(
            "rotation", "an earlier one is not finished", "Finish it with: mahavishnu rotate --finish"
        )
    state = _running(data)
    if state is not None:
        stack.stop(data.root, drain_seconds=settings.drain_timeout)
    valkey.change_password(data.db, secrets.token_urlsafe(24), also=address.password)
    return None if state is None else stack.start(settings, detach=True, where=Where.AS_BEFORE)


def finish(settings: Settings) -> bool:
    """Have the server refuse the older password from now on; False: there is none.

    Raises:
        InvalidConfig: the server is not the stack's own.
        StackNotRunning: there never was a stack.
        RedisUnavailable: the server runs and does not answer; it still accepts both.
    """
    data, address = _own_server(settings)
    if address.also is None:
        return False
    if _running(data) is not None:
        client = redis.Redis.from_url(address.url, socket_timeout=settings.submit_timeout)
        try:
            client.execute_command("ACL", "SETUSER", "default", f"<{address.also}")
        except (RedisError, OSError) as exc:
            raise errors.RedisUnavailable(f"The older password is still accepted: {exc}. Try again.") from exc
        finally:
            client.close()
    valkey.change_password(data.db, address.password, also=None)
    return True


def _own_server(settings: Settings) -> tuple[DataDir, valkey.ServerAddress]:
    if settings.redis_url is not None:
        raise errors.InvalidConfig(
            "redis_url names a server of your own: change its password there (ACL SETUSER lets it accept old and new "
            "together), then in MAHAVISHNU_REDIS_URL.",
            setting="redis_url",
        )
    data = DataDir.at(settings.data_dir)
    address = valkey.configured_address(data.db)
    if address is None:
        raise errors.StackNotRunning(f"There is no stack in {data.root}. Start one with 'mahavishnu up'.")
    return data, address


def _running(data: DataDir) -> StackState | None:
    state = read_state(data.root)
    return state if state is not None and is_alive(state.supervisor) else None
