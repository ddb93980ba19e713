"""Task type ``container``: a command in a container of docker or podman."""

from __future__ import annotations

from mahavishnu_pools.schemas.container import ContainerPayload
from mahavishnu_pools.schemas.task import Outcome
from mahavishnu_pools.task_types import task_type

from ..executors.container import run_container
from ..executors.interface import RunContext


@task_type("container", payload=ContainerPayload, mode="call")
def container(payload: ContainerPayload, context: RunContext) -> Outcome:
    """Run the command in the image and return its standard output.

    Raises:
        Refused: a mount or a variable cannot be used, or the engine could not run the container.
        MissingProgram: neither docker nor podman is on PATH.
    """
    return run_container(context, payload)
