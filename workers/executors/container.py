"""Runs a command in a container, with docker or podman, whichever is there.

The program runs in the foreground and is supervised like any other command: its output is the container's, and TERM
goes through it to the container's first process. The container is no child of it, though, so after every end that was
not the container's own it is killed and removed by its name. What a killed worker leaves is found by its labels.
"""

from __future__ import annotations

import logging
import math
import secrets
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from mahavishnu_pools.schemas.container import ContainerOptions, ContainerPayload, Mount, is_image
from mahavishnu_pools.schemas.task import Outcome
from mahavishnu_pools.worker_types import BUILT_IN, CONTAINER, WorkerType

from . import container_argv as labels
from .container_argv import ContainerRun, run_argv
from .container_engine import Engine, EngineSilent, choose_engine, last_word, refusal
from .container_env import handed_over
from .environment import TaskEnvironment, build_environment, matching
from .given import container_devices, given_variables, limited
from .interface import Refused, RunContext
from .processes import CONTAINER_VARIABLE, TASK_ID_VARIABLE
from .workdir import TO_ALLOW, is_inside, working_directory
from .workspace import Finished, Plan, Workspace

logger = logging.getLogger(__name__)

#: Exit codes by which docker and podman say that no container ran: their own fault, not executable, not found.
_NOT_RUN = frozenset({125, 126, 127})

#: Exit code of what was ended by KILL, which is what the kernel sends when memory runs out.
_KILLED = 137

#: Tries to remove a container whose engine does not answer.
_REMOVE_TRIES = 3

#: Pause before the second try in seconds; twice as long before the third.
_REMOVE_PAUSE = 0.5


@dataclass(frozen=True, slots=True)
class Box:
    """What a container is made of. ``variables`` are those it gets beside the ids of its task."""

    image: str
    options: ContainerOptions
    mounts: tuple[Mount, ...]
    variables: Mapping[str, str] = field(repr=False)


def run_container(context: RunContext, payload: ContainerPayload) -> Outcome:
    """Run the payload's command in its image.

    Raises:
        Refused: a mount, a variable or the command cannot be used, or the engine could not run the container.
        MissingProgram: neither docker nor podman is on PATH.
    """
    given = {**context.spec.env, **payload.env}
    asked = replace(context, spec=context.spec.model_copy(update={"env": given}))
    environment = build_environment(asked)
    kind = context.services.get("worker_types", BUILT_IN).get(CONTAINER, BUILT_IN[CONTAINER])
    with working_directory(context) as cwd:
        workspace = Workspace(context, cwd=cwd, environment=environment)
        mounts = tuple(_checked(mount, workspace) for mount in payload.mounts)
        box = Box(payload.image, payload, mounts, {**given, **environment.secrets})
        finished = _run(workspace, kind, box, Plan(command_of(payload)))
        return _explained(workspace.outcome(finished), payload)


def boxed(workspace: Workspace, worker_type: WorkerType) -> Callable[[Plan], Finished]:
    """Return a function that runs plans as ``Workspace.run`` does, in the container of a worker type.

    Raises:
        Refused: nobody named an image, or a mount cannot be used.
    """
    context, options = workspace.context, worker_type.container
    assert options is not None, "asked for with a container only"
    image = context.services.get("container_image") or options.image
    if not isinstance(image, str) or not is_image(image):
        found = f"no usable image ({image!r})" if image else "no image"
        raise Refused(
            f"Worker type {worker_type.name!r} has {found}. Spawn the pool with --container-image IMAGE, or name one "
            "in the worker types file; a task of type 'container' names its own."
        )
    here = str(workspace.cwd)
    mounts = (_mount(here, here, read_only=False), *(_checked(mount, workspace) for mount in options.mounts))
    asked = options if options.workdir else options.model_copy(update={"workdir": here})
    variables = {
        **matching(context.env, worker_type.env_pass),
        **context.spec.env,
        **workspace.environment.secrets,
    }
    return lambda plan: _run(workspace, worker_type, Box(image, asked, mounts, variables), plan)


def _run(workspace: Workspace, worker_type: WorkerType, box: Box, plan: Plan) -> Finished:
    context = workspace.context
    engine = choose_engine(worker_type, context.env)
    name = f"mahavishnu-{context.task_id}-{secrets.token_hex(4)}"
    ours = {**_ids(workspace), **given_variables(context.got)}
    variables = {**box.variables, **ours, CONTAINER_VARIABLE: name}
    with handed_over(variables, engine_env=engine.env) as handed:
        run = ContainerRun(
            name=name,
            image=box.image,
            command=plan.argv,
            options=limited(box.options, context.got),
            mounts=box.mounts,
            labels=_labels(context),
            env=tuple(handed.inherited),
            env_file=handed.file,
            stop_seconds=math.ceil(context.limits.kill_grace),
            interactive=plan.stdin is not None,
            devices=container_devices(context.got),
        )
        program = TaskEnvironment({**engine.env, **handed.inherited}, secrets={}, masker=workspace.environment.masker)
        around = replace(workspace, environment=program)
        with _removed_afterwards(engine, name) as removal:
            finished = around.run(replace(plan, argv=run_argv(engine.program, run)))
            removal.needed = _may_be_left(finished)
    return _ran(finished, engine)


class _Removal:
    """Whether a container may be left; True until its own end is known."""

    needed = True


@contextmanager
def _removed_afterwards(engine: Engine, name: str) -> Iterator[_Removal]:
    removal = _Removal()
    try:
        yield removal
    finally:
        if removal.needed:
            _remove(engine, name)


def _remove(engine: Engine, name: str) -> None:
    for number in range(_REMOVE_TRIES):
        time.sleep(number * _REMOVE_PAUSE)
        try:
            engine.remove([name])
        except EngineSilent as exc:
            logger.warning("Container %s is not removed yet: %s", name, exc, extra={"action": "remove_container"})
        else:
            return


def _may_be_left(finished: Finished) -> bool:
    """Tell whether a container may live on: its program did not see its end."""
    ended = finished.ended
    return ended.how != "exited" or ended.returncode < 0 or ended.returncode in _NOT_RUN


def _ran(finished: Finished, engine: Engine) -> Finished:
    if finished.ended.how == "exited" and finished.ended.returncode in _NOT_RUN:
        said = last_word(finished.stderr.text())
        if said is not None:
            raise refusal(engine, said)
    return finished


def _explained(outcome: Outcome, payload: ContainerPayload) -> Outcome:
    if outcome.exit_code != _KILLED or payload.memory is None:
        return outcome
    hint = f" It was killed; {payload.memory} of memory may have been too little."
    return outcome.model_copy(update={"error": (outcome.error or "") + hint})


def command_of(payload: ContainerPayload) -> tuple[str, ...]:
    """Return the command of a payload, empty for the image's own.

    Raises:
        Refused: the text cannot be split, for example because a quote is not closed.
    """
    command = payload.command
    if command is None or isinstance(command, list):
        return tuple(command or ())
    if payload.shell:
        return ("sh", "-c", command)
    try:
        return tuple(shlex.split(command))
    except ValueError as exc:
        raise Refused(
            f"payload.command cannot be split into words: {exc}. Give it as a list, or set shell to true."
        ) from exc


def _checked(mount: Mount, workspace: Workspace) -> Mount:
    """Return the mount with its real path, so that a link that is changed later leads nowhere else."""
    given = workspace.cwd / mount.source
    try:
        real = given.resolve(strict=True)
    except (OSError, RuntimeError) as exc:
        raise Refused(f"mounts: {mount.source!r} does not exist on this machine. Name a file or directory.") from exc
    roots = workspace.context.allowed_roots
    if roots and not is_inside(real, (*roots, workspace.cwd)):
        listed = ", ".join(str(root) for root in roots)
        raise Refused(
            f"mounts: {mount.source!r} is outside the allowed roots: {listed}. Choose one below, or {TO_ALLOW}"
        )
    return _mount(str(real), mount.target, read_only=mount.read_only)


def _mount(source: str, target: str, *, read_only: bool) -> Mount:
    try:
        return Mount(source=source, target=target, read_only=read_only)
    except ValidationError as exc:
        raise Refused(
            f"mounts: {source!r} cannot be mounted: docker and podman take no path with a comma, a double quote or a "
            "line end."
        ) from exc


def _ids(workspace: Workspace) -> dict[str, str]:
    names = (TASK_ID_VARIABLE, "MAHAVISHNU_POOL_ID", "MAHAVISHNU_ATTEMPT")
    return {name: workspace.environment.variables[name] for name in names}


def _labels(context: RunContext) -> dict[str, str]:
    env = context.env
    return {
        labels.TASK_LABEL: context.task_id,
        labels.ATTEMPT_LABEL: str(context.attempt),
        labels.POOL_LABEL: context.pool_id,
        labels.LEASE_LABEL: env.get("MAHAVISHNU_LEASE", ""),
        labels.NODE_LABEL: env.get("MAHAVISHNU_NODE_NAME", ""),
        labels.AGENT_LABEL: env.get("MAHAVISHNU_AGENT_ID", ""),
        labels.NAMESPACE_LABEL: str(context.services.get("namespace", "")),
    }
