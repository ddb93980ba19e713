"""What is needed and does not answer, or not in time."""

from __future__ import annotations

from mahavishnu_pools.errors.root import InvalidInput, MahavishnuError, Unavailable


class StackNotRunning(Unavailable):
    """No Redis is configured and no local stack is running."""

    code = "stack_not_running"

    def __init__(self, message: str = "") -> None:
        super().__init__(
            message
            or "No stack is running here. Start one with 'mahavishnu up', or name a server in MAHAVISHNU_REDIS_URL."
        )


class ManagerClosed(Unavailable):
    """A pool manager was used after it had been closed."""

    code = "manager_closed"

    def __init__(self, message: str = "") -> None:
        super().__init__(
            message
            or "This PoolManager was closed, by close() or at the end of its 'async with', and nothing was done. "
            "Make another one."
        )


class RedisUnavailable(Unavailable):
    """Redis does not answer, refuses the password, is too old or is set up in a way that cannot be used.

    ``maybe_done`` (True, else not there): an answer was lost, so what was asked may have been done.
    """

    code = "redis_unavailable"


class RedisFull(RedisUnavailable):
    """Redis has no memory left for what was asked; work that runs goes on and its outcomes are still written."""

    code = "redis_full"


class RedisDiskFull(RedisUnavailable):
    """Redis cannot write to its disk and refuses every change; ``directory`` is that of its data, if it tells it."""

    code = "redis_disk_full"


class NoAgent(Unavailable):
    """No node agent is running that could start the pool's workers."""

    code = "no_agent"


class PoolNotReady(Unavailable):
    """The pool's workers did not report ready in time; the message says what is known."""

    code = "pool_not_ready"


class StackPartFailed(Unavailable):
    """A part of the local stack could not be started."""

    code = "stack_part_failed"


class RemoteUnavailable(Unavailable):
    """A remote server gave no usable answer; ``maybe_ran`` tells whether what was asked may have been done."""

    code = "remote_unavailable"


class RemoteRefused(Unavailable):
    """A remote server refused what was asked (token, address, arguments); nothing was done."""

    code = "remote_refused"


class ClusterUnavailable(Unavailable):
    """A Kubernetes cluster cannot be reached, or does not answer as it should; ``cluster`` is its address."""

    code = "cluster_unavailable"


class ClusterRefused(InvalidInput):
    """A Kubernetes cluster refused what was asked, and would again.

    ``status`` is the HTTP status, ``reason`` the API's word for it (``Forbidden``, ``NotFound``, ``Invalid`` …).
    ``quota`` tells that a quota is used up, which may pass.
    """

    code = "cluster_refused"


class WaitTimeout(MahavishnuError):
    """The caller's own waiting time is over; the task goes on."""

    code = "wait_timeout"

    @classmethod
    def of(cls, what: str, seconds: float) -> WaitTimeout:
        """Build the error from what was waited for and for how long."""
        text = f"{what} was not there after {seconds:g} s. Nothing was cancelled; ask again later."
        return cls(text, seconds=seconds)
