"""Exposes the whole system's metrics as text for Prometheus. Any process with the store can do it at any time."""

from __future__ import annotations

import asyncio
import importlib.metadata

from mahavishnu_pools import errors
from mahavishnu_pools.memory.sinks.plugins import sink_names
from mahavishnu_pools.metrics.definitions import PREFIX
from mahavishnu_pools.metrics.sampling import Sample, celery_samples, server_samples, sink_samples, system_samples
from mahavishnu_pools.metrics.writing import written
from mahavishnu_pools.store.client import AsyncStore
from mahavishnu_pools.store.figures import read_figures, read_server
from mahavishnu_pools.store.outbox import read_sinks

#: What the text is, as an HTTP header says it.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


async def exposition(store: AsyncStore) -> bytes:
    """Return the metrics of the whole system. While Redis does not answer that is ``redis_up 0`` and nothing else."""
    samples: list[Sample] = [(PREFIX + "build_info", (importlib.metadata.version("mahavishnu-pools"),), 1)]
    try:
        figures, states, server = await asyncio.gather(
            store.run(read_figures()), store.run(read_sinks(*sink_names())), read_server(store)
        )
    except errors.RedisUnavailable:
        return written([*samples, (PREFIX + "redis_up", (), 0)], ())
    samples.append((PREFIX + "redis_up", (), 1))
    samples.extend(system_samples(figures))
    samples.extend(sink_samples(dict(zip(sink_names(), states, strict=True))))
    samples.extend(server_samples(server))
    samples.extend(celery_samples(figures))
    return written(samples, figures.edges)
