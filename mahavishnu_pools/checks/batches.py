"""Batches against their members."""

from __future__ import annotations

from dataclasses import dataclass

from mahavishnu_pools.checks.findings import Found, Mend, Site, fault
from mahavishnu_pools.checks.keyspace import Inventory
from mahavishnu_pools.store.checks import READ_CHUNK, BatchCounts, look_at_batch
from mahavishnu_pools.store.mending import mend_batch

#: So often a batch whose counts change while it is read is read anew; then it is busy, and left alone.
TRIES = 3


@dataclass(frozen=True, slots=True)
class _Read:
    """A batch and its members, read while the counts stood still."""

    counts: BatchCounts
    members: int
    completed: int
    ended: int
    unknown: int
    stuck: bool
    follower: str | None

    @property
    def truth(self) -> BatchCounts:
        """The counts as they must be. A member without a record had an outcome, nobody knows which, and expired."""
        over = self.completed + self.ended + self.unknown
        successful = min(max(self.counts.successful, self.completed), self.completed + self.unknown)
        return BatchCounts(self.members, successful, over - successful)


async def followers(site: Site, inventory: Inventory) -> set[str]:
    """Return the tasks whose message waits in a batch."""
    found = set()
    for batch in inventory.batches:
        piece = await site.store.run(look_at_batch(batch, first=0))
        if piece.follower:
            found.add(piece.follower)
    return found


async def odd_batches(site: Site, inventory: Inventory) -> list[Found]:
    """Find batches whose counts are not those of their members, or that are complete without what follows them."""
    found = []
    for batch in sorted(inventory.batches):
        read = await _read(site, batch)
        if read is None:
            continue
        if read.truth != read.counts:
            text = f"It counts {_shown(read.counts)}; its members say {_shown(read.truth)}."
            found.append(fault("batch_counts", batch, text, mend=_correct(batch, read)))
        elif read.stuck:
            text = f"All its tasks have ended, and {read.follower}, which follows them, was not started."
            found.append(fault("batch_stuck", batch, text, mend=_correct(batch, read)))
    return found


async def _read(site: Site, batch: str) -> _Read | None:
    for _ in range(TRIES):
        pieces = [await site.store.run(look_at_batch(batch, first=0))]
        for first in range(READ_CHUNK, pieces[0].members, READ_CHUNK):
            pieces.append(await site.store.run(look_at_batch(batch, first=first)))
        pieces.append(await site.store.run(look_at_batch(batch, first=pieces[0].members)))
        if pieces[0].counts.total < 0:
            return None
        if len({(piece.counts, piece.members) for piece in pieces}) == 1:
            last = pieces[-1]
            over = last.counts.successful + last.counts.failed >= last.counts.total
            return _Read(
                counts=last.counts,
                members=last.members,
                completed=sum(piece.completed for piece in pieces),
                ended=sum(piece.ended for piece in pieces),
                unknown=sum(piece.unknown for piece in pieces),
                stuck=last.sealed_follower and over,
                follower=last.follower,
            )
    return None


def _correct(batch: str, read: _Read) -> Mend:
    async def mend(site: Site) -> bool:
        call = mend_batch(batch, read.counts, read.truth, result_ttl=site.settings.result_expires)
        return await site.store.run(call)

    return mend


def _shown(counts: BatchCounts) -> str:
    return f"{counts.successful} successful and {counts.failed} failed of {counts.total}"
