"""What this machine has that tasks may need: processors, memory, GPUs, and what its settings say."""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from mahavishnu_pools import errors
from mahavishnu_pools.schemas.needs import CPU, GPU, MEMORY, parse_resources
from mahavishnu_pools.settings import Settings

#: Where a control group says what its processes may use (version 2).
CGROUP = Path("/sys/fs/cgroup")

#: Seconds that the driver's program may take to list the GPUs; one that hangs counts as none.
LIST_SECONDS = 5.0

_LISTED = re.compile(r"^GPU (\d+):", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Equipment:
    """Amounts by name, and the numbers of devices that are handed out one by one."""

    resources: Mapping[str, float]
    devices: Mapping[str, tuple[str, ...]]


def look_for_equipment(settings: Settings) -> Equipment:
    """Return what this machine has; ``node_resources`` wins over what is found.

    Raises:
        InvalidConfig: ``node_resources`` cannot be read.
    """
    configured = configured_resources(settings)
    gpus = visible_gpus() if configured.get(GPU) != 0 else ()
    resources = {CPU: usable_processors(), MEMORY: usable_memory(), GPU: float(len(gpus)), **configured}
    count = int(resources[GPU])
    numbers = (*gpus, *(str(number) for number in range(count) if str(number) not in gpus))[:count]
    kept = {name: amount for name, amount in resources.items() if amount}
    return Equipment(kept, {GPU: numbers} if numbers else {})


def configured_resources(settings: Settings) -> dict[str, float]:
    """Return the resources that the settings name.

    Raises:
        InvalidConfig: one cannot be read.
    """
    try:
        return parse_resources(settings.node_resources)
    except ValueError as exc:
        raise errors.InvalidConfig(
            f"node_resources: {exc}. Correct it in MAHAVISHNU_NODE_RESOURCES or the settings file.",
            setting="node_resources",
        ) from exc


def usable_processors(cgroup: Path = CGROUP) -> float:
    """Return how many processors this process may use."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _words(cgroup / "cpu.max")
    if len(quota) == 2 and quota[0].isdigit() and quota[1].isdigit():
        return min(float(count), max(0.01, math.floor(100 * int(quota[0]) / int(quota[1])) / 100))
    return float(count)


def usable_memory(cgroup: Path = CGROUP) -> float:
    """Return the bytes of memory that this process may use."""
    total = psutil.virtual_memory().total
    limit = _words(cgroup / "memory.max")
    return float(min(total, int(limit[0])) if limit and limit[0].isdigit() else total)


def visible_gpus(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Return the numbers of the NVIDIA GPUs here, those of ``CUDA_VISIBLE_DEVICES`` when it says which."""
    chosen = environment.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return tuple(one.strip() for one in chosen.split(",") if one.strip() and one.strip() != "-1")
    program = shutil.which("nvidia-smi", path=environment.get("PATH"))
    if program is None:
        return ()
    with contextlib.suppress(OSError, subprocess.SubprocessError, UnicodeDecodeError):
        done = subprocess.run(
            [program, "-L"], capture_output=True, text=True, timeout=LIST_SECONDS, check=True, stdin=subprocess.DEVNULL
        )
        return tuple(_LISTED.findall(done.stdout))
    return ()


def _words(path: Path) -> list[str]:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text().split()
    return []
