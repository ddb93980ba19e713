"""Writes samples in the text format of Prometheus. Pure.

The writer of prometheus_client is made for a process's own few metrics; for those of 100 pools it takes thrice as long.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from mahavishnu_pools.metrics.definitions import METRICS, Metric
from mahavishnu_pools.metrics.sampling import Buckets, Sample

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})

_Values = dict[tuple[str, ...], float | Buckets]


def written(samples: Iterable[Sample], edges: Sequence[str]) -> bytes:
    """Return the text; ``edges`` are the upper ends of the buckets. Metrics without samples are left out."""
    by_metric: dict[str, _Values] = defaultdict(dict)
    for name, labels, value in samples:
        by_metric[name][labels] = value
    ends = [*(repr(float(edge)) for edge in edges), "+Inf"]
    lines: list[str] = []
    for metric in METRICS:
        if metric.name in by_metric:
            lines.extend(_family(metric, by_metric[metric.name], ends))
    # Whatever somebody called a task type, the text is UTF-8.
    return ("\n".join(lines) + "\n").encode("utf-8", errors="replace")


def _family(metric: Metric, values: _Values, ends: Sequence[str]) -> Iterator[str]:
    name = metric.exposed if metric.kind == "counter" else metric.name
    yield f"# HELP {name} {metric.text}."
    yield f"# TYPE {name} {metric.kind}"
    for labels, value in values.items():
        text = ",".join(f'{key}="{one.translate(_ESCAPES)}"' for key, one in zip(metric.labels, labels, strict=True))
        if isinstance(value, Buckets):
            yield from _histogram(metric.name, text, value, ends)
        else:
            yield f"{name}{{{text}}} {value}" if text else f"{name} {value}"


def _histogram(name: str, labels: str, value: Buckets, ends: Sequence[str]) -> Iterator[str]:
    reached, head = 0, f"{name}_bucket{{{labels},le="
    for index, end in enumerate(ends):
        reached += value.counts.get(index, 0)
        yield f'{head}"{end}"}} {reached}'
    if value.total is not None:
        yield f"{name}_sum{{{labels}}} {value.total}"
        yield f"{name}_count{{{labels}}} {reached}"
