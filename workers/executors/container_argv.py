"""The command lines for docker and podman, as data. Pure: values never become options, nothing goes through a shell.

Both programs understand every line here in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mahavishnu_pools.schemas.container import ContainerOptions, Mount

#: Labels of every container: they tell whose it is, also when nothing else of its task is left.
TASK_LABEL, ATTEMPT_LABEL = "mahavishnu.task_id", "mahavishnu.attempt"
POOL_LABEL, LEASE_LABEL = "mahavishnu.pool_id", "mahavishnu.lease"
NAMESPACE_LABEL, NODE_LABEL, AGENT_LABEL = "mahavishnu.namespace", "mahavishnu.node", "mahavishnu.agent_id"


@dataclass(frozen=True, slots=True)
class ContainerRun:
    """One container. ``mounts`` have real paths of this machine; ``env`` are names whose values the program has.

    ``env_file`` holds variables that must not be among the program's own. ``stop_seconds`` is the grace that others who
    stop the container give it. ``devices`` are names of the Container Device Interface.
    """

    name: str
    image: str
    command: tuple[str, ...]
    options: ContainerOptions
    mounts: tuple[Mount, ...]
    labels: Mapping[str, str]
    env: tuple[str, ...]
    env_file: Path | None
    stop_seconds: int
    interactive: bool
    devices: tuple[str, ...] = ()


def run_argv(program: str, run: ContainerRun) -> tuple[str, ...]:
    """Return the command that runs a container in the foreground and removes it at its end."""
    return (
        program,
        "run",
        "--rm",
        f"--name={run.name}",
        *(f"--label={name}={value}" for name, value in run.labels.items()),
        *_limits(run.options),
        f"--stop-timeout={run.stop_seconds}",
        # The output is kept elsewhere; the engine's own copy could fill the disk.
        "--log-driver=none",
        *(("--interactive",) if run.interactive else ()),
        *(f"--mount={_mount(mount)}" for mount in run.mounts),
        *(f"--device={name}" for name in run.devices),
        *(f"--env={name}" for name in run.env),
        *((f"--env-file={run.env_file}",) if run.env_file else ()),
        run.image,
        *run.command,
    )


def find_argv(program: str, labels: Mapping[str, str]) -> tuple[str, ...]:
    """Return the command that prints the ids of all containers with these labels, running or not."""
    filters = (f"--filter=label={name}={value}" for name, value in labels.items())
    return (program, "ps", "--all", "--quiet", "--no-trunc", *filters)


def kill_argv(program: str, names: Sequence[str]) -> tuple[str, ...]:
    """Return the command that kills containers; those that do not run are an error to it."""
    return (program, "kill", *names)


def remove_argv(program: str, names: Sequence[str]) -> tuple[str, ...]:
    """Return the command that removes containers, with volumes of their own; those that are gone may be errors to it.

    They are killed before: podman would grant a running one its whole grace.
    """
    return (program, "rm", "--force", "--volumes", *names)


def probe_argv(program: str) -> tuple[str, ...]:
    """Return a command that succeeds when the engine answers."""
    return (program, "ps", "--quiet")


def _limits(options: ContainerOptions) -> tuple[str, ...]:
    given = {
        "--pull": options.pull,
        "--network": options.network,
        "--cpus": None if options.cpu is None else f"{options.cpu:.2f}",
        "--memory": options.memory,
        "--user": options.user,
        "--workdir": options.workdir,
        "--entrypoint": options.entrypoint,
    }
    switches = {"--read-only": options.read_only, "--init": options.init}
    return (
        *(f"{name}={value}" for name, value in given.items() if value is not None),
        *(name for name, wanted in switches.items() if wanted),
    )


def _mount(mount: Mount) -> str:
    return f"type=bind,source={mount.source},target={mount.target}" + (",readonly" if mount.read_only else "")
