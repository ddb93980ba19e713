"""What a node says of itself when a check asks: its clock, its limits, and its programs as its agent sees them."""

from __future__ import annotations

from mahavishnu_pools.schemas.base import Value


class ProgramReport(Value):
    """The program of a worker type. ``path`` is None when it is not on PATH, ``version`` when it does not tell.

    ``problem`` is why it cannot be used although it is there: its container engine does not answer (None: nothing is).
    ``logged_out`` is what it said when it was used last and nobody had logged in (None: nothing of that).
    ``login`` is None when nothing is known of how one logs in, else whether a sign of a login was found;
    ``login_sign`` is that variable or file.
    """

    worker_type: str
    program: str
    path: str | None = None
    version: str | None = None
    problem: str | None = None
    logged_out: str | None = None
    login: bool | None = None
    login_sign: str | None = None


class NodeLimits(Value):
    """Limits of an agent's processes; None is no limit, or not known.

    ``open_files`` (ulimit -n) holds for each process, ``processes`` (ulimit -u) for all of the user. ``pids_max`` is
    the lowest limit of the control groups the agent is in (containers, systemd's TasksMax), ``pids_now`` what counts
    there already.
    """

    open_files: int | None = None
    processes: int | None = None
    pids_max: int | None = None
    pids_now: int | None = None


class NodeReport(Value):
    """The answer of one node to a check's question (``request``: the time it was asked at).

    ``clock_skew`` is its clock minus the server's, in seconds.
    """

    request: str
    node: str
    clock_skew: float
    path: str
    limits: NodeLimits
    programs: tuple[ProgramReport, ...] = ()
