"""What a task of a pool of Jobs means there: its command, what it is given, and the outcome of how it went."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from pydantic import BaseModel

from mahavishnu_pools import errors, task_types
from mahavishnu_pools.kube import pods
from mahavishnu_pools.kube.jobs import CONTAINER, WORK, Box, JobTask, check, image_of
from mahavishnu_pools.kube.objects import kubernetes_of, without_nothing
from mahavishnu_pools.schemas.container import ContainerPayload
from mahavishnu_pools.schemas.task import Outcome
from mahavishnu_pools.task_types import TaskType
from mahavishnu_pools.worker_types import CONTAINER as CONTAINER_TYPE

from .container import command_of
from .environment import build_environment
from .given import pod_resources, with_asked
from .informed import with_payload, with_prompt
from .interface import Refused, RunContext
from .job_bridge import JobBridge
from .job_course import NotRun
from .job_verdict import JobEnd
from .supervisor import Ended
from .terminal import chosen_worker_type, prompt_outcome
from .workspace import Finished, Output, Plan, Workspace

#: Exit code of a shell that does not find a program.
_NOT_FOUND = 127

_PULL: Mapping[str, str] = MappingProxyType({"missing": "IfNotPresent", "always": "Always", "never": "Never"})
_NUMBERS = re.compile(r"(\d+)(?::(\d+))?")


def run_in_cluster(context: RunContext, task_type: TaskType | None, bridge: JobBridge) -> Outcome:
    """Run a task as a Job.

    Raises:
        Refused, InvalidField: it cannot be run there; nothing was made.
    """
    spec = context.spec
    if task_type is None:
        kind = chosen_worker_type(context)
        if kind is None or not kind.ai:
            raise errors.UnknownChoice.of("task type", spec.task_type, [*task_types.BUILT_IN])
        given = {"task_type": spec.task_type, "payload": with_payload(context, None, spec.payload)}
        return _prompt(context, json.dumps(given, ensure_ascii=False, indent=2), bridge)
    given = with_payload(context, task_type.payload, task_types.payload_of(spec))
    payload = task_types.parse_payload(task_type.payload, payload=given)
    if isinstance(payload, ContainerPayload):
        return _container(context, payload, bridge)
    return _of_mode(context, task_type, payload, bridge)


def _of_mode(context: RunContext, task_type: TaskType, payload: BaseModel, bridge: JobBridge) -> Outcome:
    if task_type.mode == "prompt":
        return _prompt(context, str(task_type.handler(payload)), bridge)
    if task_type.mode != "command":
        raise Refused(
            f"Task type {task_type.name!r} runs in a worker's own process, and a pool of Jobs has no workers in the "
            "cluster. Use a pool with mode: deployment, or one of another type."
        )
    argv = task_type.handler(payload)
    if not argv or not all(isinstance(part, str) for part in argv):
        raise Refused(f"The handler of task type {task_type.name!r} returned no argv: a list of texts is needed.")
    run = _Run(context, bridge, what=f"task type {task_type.name!r}")
    return run.explained(run.workspace.outcome(run(Plan(tuple(argv)))))


def _prompt(context: RunContext, prompt: str, bridge: JobBridge) -> Outcome:
    kind = chosen_worker_type(context)
    if kind is None:
        raise Refused(
            "This pool has no worker type, so nothing says which program of its image takes a prompt. Name one in the "
            "task, or spawn the pool with --worker-type."
        )
    run = _Run(context, bridge, what=f"worker type {kind.name!r}")
    prompt = with_prompt(context, prompt) if kind.ai and context.spec.task_type == "prompt" else prompt
    return run.explained(prompt_outcome(run.workspace, run, prompt, worker_type=kind))


def _container(context: RunContext, payload: ContainerPayload, bridge: JobBridge) -> Outcome:
    if payload.mounts:
        raise Refused("payload.mounts: files of a machine are not in the cluster. Give the pool volumes instead.")
    if payload.network == "host":
        raise Refused("payload.network: a Job does not get the network of its node. Leave it out.")
    spec = context.spec.model_copy(update={"env": {**context.spec.env, **payload.env}})
    run = _Run(replace(context, spec=spec), bridge, what=f"task type {CONTAINER_TYPE!r}", box=_box(payload))
    return run.explained(run.workspace.outcome(run(Plan(command_of(payload)))))


def _box(payload: ContainerPayload) -> Box:
    user = _NUMBERS.fullmatch(payload.user or "")
    if payload.user is not None and user is None:
        raise Refused(f"payload.user: {payload.user!r} must be a number, or two as in 1000:1000, in a cluster.")
    limits = without_nothing(
        {
            "cpu": None if payload.cpu is None else f"{round(payload.cpu * 1000)}m",
            "memory": None if payload.memory is None else _memory(payload.memory),
        }
    )
    return Box(
        image=payload.image,
        pull=_PULL[payload.pull] if "pull" in payload.model_fields_set else None,
        workdir=payload.workdir,
        entrypoint=payload.entrypoint,
        resources={"limits": limits} if limits else None,
        user=int(user[1]) if user else None,
        group=int(user[2]) if user and user[2] else None,
        read_only=payload.read_only if "read_only" in payload.model_fields_set else None,
    )


def _memory(text: str) -> str:
    """Return bytes as Kubernetes writes them: docker's units are powers of 1024."""
    units = {"k": "Ki", "m": "Mi", "g": "Gi", "b": ""}
    return text[:-1] + units[text[-1]] if text[-1] in units else text


class _Run:
    """One run of a plan as a Job, in the way of ``Workspace.run``; remembers how it ended."""

    def __init__(self, context: RunContext, bridge: JobBridge, *, what: str, box: Box = Box()) -> None:  # noqa: B008
        # What this machine has in its environment is no affair of the cluster.
        environment = build_environment(replace(context, env={}))
        self.workspace = Workspace(context, cwd=Path(_workdir(context, bridge)), environment=environment)
        self._bridge, self._what = bridge, what
        asked = pod_resources(context.spec.asks_for)
        resources = with_asked(box.resources or pods.resources(kubernetes_of(bridge.config)), asked)
        self._box = replace(box, workdir=box.workdir or str(self.workspace.cwd), resources=resources)
        self._end: JobEnd | None = None
        self._task: JobTask

    def __call__(self, plan: Plan) -> Finished:
        context, bridge = self.workspace.context, self._bridge
        began = time.monotonic()
        self._task = self._made(plan)
        check(self._task)
        output = Output(self.workspace, plan)
        try:
            end = bridge.run(
                self._task, consume=lambda data: output.take("stdout", data), cancellation=context.cancellation
            )
        except NotRun as exc:
            raise Refused(exc.message, retryable=exc.retryable) from exc
        finally:
            output.close()
        self._end = end
        self._refuse_missing_program(plan, output)
        code = 0 if end.end is None else end.end.exit_code
        ended = Ended(end.how, returncode=code if code >= 0 else 1)
        return Finished(ended, output.stdout, output.stderr, output.result, seconds=time.monotonic() - began)

    def _made(self, plan: Plan) -> JobTask:
        context, environment = self.workspace.context, self.workspace.environment
        kubernetes = kubernetes_of(self._bridge.config)
        plain = {name: text for name, text in environment.variables.items() if name not in environment.secrets}
        grace = kubernetes.grace_period
        return JobTask(
            task_id=context.task_id,
            number=context.retries,
            argv=plan.argv,
            timeout=context.spec.timeout,
            grace=context.limits.kill_grace if grace is None else float(grace),
            env={**plain, **plan.env},
            secrets=environment.secrets,
            stdin=plan.stdin,
            as_arguments=self._box.image is not None,
            box=self._box,
        )

    def _refuse_missing_program(self, plan: Plan, output: Output) -> None:
        found = self._end.end if self._end is not None else None
        if found is None or found.container != CONTAINER or not plan.argv:
            return
        said = output.stdout.tail_text(500)
        lost = found.exit_code == _NOT_FOUND and plan.stdin is not None and "not found" in said
        if lost or (found.not_started and "not found" in found.message):
            program = self._box.entrypoint or plan.argv[0]
            image = image_of(self._bridge.config, self._task)
            raise Refused(
                f"The image {image} has no program {program!r}, which {self._what} runs. Name an image that has it in "
                "container_image, or another worker type."
            )

    def explained(self, outcome: Outcome) -> Outcome:
        """Return the outcome with what only the cluster knows of it."""
        end, task = self._end, self._task
        assert end is not None, "asked for after the run only"
        metadata = {**outcome.metadata, "job": task.name, "namespace": kubernetes_of(self._bridge.config).namespace}
        metadata |= {"cluster": self._bridge.address, **({"pod": end.pod} if end.pod else {})}
        if end.left and not self.workspace.context.cancellation.leave:
            metadata["remote_may_still_run"] = True
        changes: dict[str, object] = {"metadata": metadata}
        if end.error is not None:
            changes["error"] = end.error
        if end.retryable is not None and outcome.status == "failed":
            changes["retryable"] = end.retryable if self.workspace.context.spec.on_worker_lost == "requeue" else None
        if end.end is not None and end.end.exit_code:
            changes |= self._failure(end)
        return outcome.model_copy(update=changes)

    def _failure(self, end: JobEnd) -> dict[str, object]:
        found = end.end
        assert found is not None
        if found.container != CONTAINER:
            text = f"The init container {found.container!r} ended with exit code {found.exit_code}"
            return {"status": "failed", "error": f"{text}{': ' + found.message if found.message else '.'}"}
        if found.reason == "OOMKilled":
            limit = (self._box.resources or {}).get("limits", {}).get("memory")
            limit = limit or kubernetes_of(self._bridge.config).resources.limits.get("memory")
            room = f" of {limit}" if limit else ""
            text = (
                f"The container was killed: its memory{room} was too little (OOMKilled). Raise resources.limits.memory."
            )
            return {"status": "failed", "error": text}
        if found.not_started:
            text = f"The container could not be started: {found.message or found.reason}"
            return {"status": "failed", "error": text}
        return {"exit_code": None} if found.exit_code < 0 else {}


def _workdir(context: RunContext, bridge: JobBridge) -> str:
    """Return where the task begins: a path in the container.

    A directory that the container has not got is one of the machine the task was sent from, as command lines send it.
    """
    kubernetes = kubernetes_of(bridge.config)
    base = PurePosixPath(kubernetes.workdir or WORK)
    wanted = base / (context.spec.cwd or "")
    places = (base, *(PurePosixPath(one.mount_path) for one in kubernetes.volumes))
    return str(wanted if any(wanted.is_relative_to(one) for one in places) else base)
