"""What a task is given of its node, as its program sees it; and tasks on a way on which nothing is given."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from mahavishnu_pools.kube.objects import Manifest
from mahavishnu_pools.schemas.container import ContainerOptions
from mahavishnu_pools.schemas.needs import CPU, GPU, MEMORY, Needs
from mahavishnu_pools.schemas.task import Got, Outcome

from .interface import Refused, RunContext

#: The variable that tells a task what it got, as JSON: ``{"resources": {name: amount}, "devices": {name: [number]}}``.
RESOURCES_VARIABLE = "MAHAVISHNU_RESOURCES"

#: The variable by which CUDA sees no other devices.
GPUS_VARIABLE = "CUDA_VISIBLE_DEVICES"

#: How containers and Pods name a GPU.
_NVIDIA = "nvidia.com/gpu"


def not_given(context: RunContext) -> Outcome | None:
    """Return how a task ends that needs something, and of which the store knows nothing; None for all others."""
    if not context.spec.needs or context.got is not None or "jobs" in context.services:
        return None
    remedy = "Submit it with PoolManager, the command line or MCP, where it waits until a node has that free."
    asked = ", ".join(context.spec.needs)
    return Outcome(status="failed", error=f"It needs {asked}, and nothing was set aside for it. {remedy}")


def given_variables(got: Got | None) -> dict[str, str]:
    """Return what a task's environment says of what it got."""
    if got is None:
        return {}
    found = {RESOURCES_VARIABLE: json.dumps({"resources": got.resources, "devices": got.devices})}
    gpus = got.devices.get(GPU)
    return {**found, GPUS_VARIABLE: ",".join(gpus)} if gpus else found


def limited(options: ContainerOptions, got: Got | None) -> ContainerOptions:
    """Return a container's options with what the task got as limits, where it names none itself."""
    if got is None:
        return options
    cpu, memory = got.resources.get(CPU), got.resources.get(MEMORY)
    own: dict[str, object] = {}
    if cpu is not None and options.cpu is None:
        own["cpu"] = max(0.01, cpu)
    if memory is not None and options.memory is None:
        own["memory"] = str(math.ceil(memory))
    return options.model_copy(update=own) if own else options


def container_devices(got: Got | None) -> tuple[str, ...]:
    """Return the devices of a container in the form of the Container Device Interface."""
    return tuple(f"{_NVIDIA}={number}" for number in got.devices.get(GPU, ())) if got else ()


def pod_resources(needs: Needs) -> dict[str, str]:
    """Return what a container of a Pod asks for.

    Raises:
        Refused: an amount that a cluster only knows whole is a fraction.
    """
    found: dict[str, str] = {}
    for name, amount in needs.resources:
        if name == CPU:
            found[name] = f"{math.ceil(amount * 1000)}m"
        elif name == MEMORY:
            found[name] = str(math.ceil(amount))
        elif amount != int(amount):
            raise Refused(f"needs: {name}={amount:g} must be a whole number in a cluster.")
        else:
            found[_NVIDIA if name == GPU else name] = str(int(amount))
    return found


def with_asked(resources: Manifest, asked: Mapping[str, str]) -> Manifest | None:
    """Return a Pod's resources with what its task asks for, guaranteed and at most; None when there is nothing."""
    if not asked:
        return resources or None
    return {
        "requests": {**resources.get("requests", {}), **asked},
        "limits": {**resources.get("limits", {}), **asked},
    }
