"""Figures, how they are shown, and the machine they were measured on."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

#: A load average above this share of the processors means that something else was running, too.
QUIET_SHARE = 0.35


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. ``at_most`` and ``at_least`` are what it should be; None: it is only shown."""

    name: str
    value: float
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None

    @property
    def met(self) -> bool | None:
        """Tell whether the number is as it should be; None when nothing was wanted of it."""
        if self.at_most is None and self.at_least is None:
            return None
        above = self.at_least is None or self.value >= self.at_least
        return above and (self.at_most is None or self.value <= self.at_most)

    def target(self) -> str:
        """Return what was wanted, for people."""
        parts = [f"≤ {self.at_most:g}"] if self.at_most is not None else []
        parts += [f"≥ {self.at_least:g}"] if self.at_least is not None else []
        return ", ".join(parts)


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that ``share`` of the values do not exceed (0.5: the median)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def machine() -> dict[str, Any]:
    """Return what the figures depend on; ``busy`` tells whether something else was running when it was asked."""
    processors = os.cpu_count() or 1
    load = os.getloadavg()[0]
    return {
        "processor": _processor(),
        "processors": processors,
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "celery": version("celery"),
        "redis_client": version("redis"),
        "load_before": round(load, 2),
        "busy": load > QUIET_SHARE * processors,
    }


def as_json(sections: dict[str, list[Figure]], about: dict[str, Any]) -> str:
    """Return everything as one JSON document."""
    figures = {name: [{**asdict(one), "met": one.met} for one in found] for name, found in sections.items()}
    return json.dumps({"machine": about, "figures": figures}, indent=2, ensure_ascii=False)


def as_table(title: str, figures: Sequence[Figure]) -> str:
    """Return the figures of one section as aligned text."""
    width = max(len(figure.name) for figure in figures)
    marks = {None: "", True: "yes", False: "NO"}
    lines = [title, f"  {'what':{width}}  {'measured':>12}  {'unit':8}  {'wanted':12}  met"]
    for one in figures:
        lines.append(
            f"  {one.name:{width}}  {_number(one.value):>12}  {one.unit:8}  {one.target():12}  {marks[one.met]}"
        )
    return "\n".join(line.rstrip() for line in lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.3g}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
