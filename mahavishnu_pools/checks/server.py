"""Whether the server is set up so that nothing is lost and everybody can connect."""

from __future__ import annotations

from collections.abc import Iterator

from mahavishnu_pools import errors
from mahavishnu_pools.checks.findings import Found, fault, note
from mahavishnu_pools.store.server_facts import ServerFacts

#: Connections of a worker group, of an agent, and of clients and pages beside them; measured and rounded up.
PER_GROUP, PER_AGENT, OTHERS = 12, 10, 50

#: A server whose memory is used beyond this share is nearly full.
NEARLY_FULL = 0.9

#: Seconds two clocks may differ: more makes `eta` and `expires` of plain Celery calls wrong.
MOST_SKEW = 1.0


def odd_server(
    facts: ServerFacts, *, groups: int, nodes: int, refusal: errors.RedisDiskFull | None = None
) -> Iterator[Found]:
    """Find what is wrong with a server for so many worker groups and nodes; for ``refusal`` see ``odd_disk``."""
    yield from _persistence(facts)
    yield from odd_disk(facts, refusal)
    yield from _memory(facts)
    needed = PER_GROUP * groups + PER_AGENT * nodes + OTHERS
    if facts.maxclients is not None and facts.maxclients < needed:
        text = f"{groups} worker groups and {nodes} agents take up to {needed} connections. Raise maxclients."
        yield fault("server_connections", f"maxclients {facts.maxclients}", text)


def odd_clock(subject: str, skew: float) -> Iterator[Found]:
    """Find a clock that differs from the server's."""
    if abs(skew) > MOST_SKEW:
        ahead = "ahead of" if skew > 0 else "behind"
        text = f"Its clock is {abs(skew):.1f} s {ahead} the server's. Run a time service (NTP) on both."
        yield fault("clock_skew", subject, text)


def _persistence(facts: ServerFacts) -> Iterator[Found]:
    if facts.append_only is False and facts.snapshots is False:
        text = "It keeps nothing on disk: all tasks are lost when it ends. Set appendonly yes."
        yield fault("server_persistence", "appendonly no", text)
    elif facts.append_only is False:
        text = "It keeps snapshots only: a crash loses what was submitted since the last one. Set appendonly yes."
        yield note("server_persistence", "appendonly no", text)


def odd_disk(facts: ServerFacts, refusal: errors.RedisDiskFull | None) -> Iterator[Found]:
    """Find that the server cannot write to its disk; ``refusal`` is how it refused a change just now."""
    if refusal is not None:
        text = f"{refusal.message} Until then nothing is mended, and no node can answer."
        yield fault("server_disk", "changes", text)
    elif facts.last_write_ok is False:
        where = "" if facts.data_dir is None else f" in {facts.data_dir}"
        text = f"Its last write to disk failed. Look into its log, and for free space{where}."
        yield fault("server_disk", "last write", text)


def _memory(facts: ServerFacts) -> Iterator[Found]:
    if facts.maxmemory and facts.used_memory and facts.used_memory > NEARLY_FULL * facts.maxmemory:
        share = round(100 * facts.used_memory / facts.maxmemory)
        text = f"{share} % of its memory is used. Raise maxmemory, or lower result_expires."
        yield fault("server_memory", f"maxmemory {facts.maxmemory}", text)
    if facts.maxmemory_policy is None:
        yield note(
            "server_policy",
            "maxmemory-policy",
            "It does not tell it; it must be noeviction, or tasks are lost.",
        )
