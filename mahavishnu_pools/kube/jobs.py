"""The manifests of one task that runs as a Job. Pure: what is wanted goes in, data comes out.

What the task is given never meets a shell, and arrives as it was: the cluster would expand ``$(NAME)`` in commands and
variables, so every ``$`` is doubled. Standard input and secrets are files and keys of a Secret that belongs to the Job.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mahavishnu_pools import errors
from mahavishnu_pools.kube import pods
from mahavishnu_pools.kube.naming import label_value, object_name
from mahavishnu_pools.kube.objects import POOL_ID, Manifest, kubernetes_of, pool_labels, without_nothing
from mahavishnu_pools.kube.repository import clone, git_env, git_volumes
from mahavishnu_pools.schemas.kubernetes import OWN_PREFIX, KubernetesConfig
from mahavishnu_pools.schemas.pool import PoolConfig

#: The container that runs the task.
CONTAINER = "task"

#: Where a task begins, in a directory that can be written, when the pool names no other.
WORK = "/workspace"

#: The label of a Job and its Pod that says which task they are; the annotation holds the id as it is.
TASK_LABEL, TASK_ID = f"{OWN_PREFIX}task", f"{OWN_PREFIX}task-id"

#: The annotation of a Job that names its Secret. Names of Jobs come again, those of their Secrets never do.
SECRET_NAME = f"{OWN_PREFIX}secret"

#: Linux takes arguments and variables up to this length, in bytes with the final zero.
LONGEST_ARGUMENT = 128 * 1024

#: A Secret holds at most this many bytes.
LARGEST_SECRET = 1024 * 1024

#: What the arguments and variables of a Job may have together, in bytes: its record in the cluster holds all of them.
LARGEST_JOB = 768 * 1024

#: Where a task's Secret is seen, and the file that is its standard input.
_PRIVATE, _STDIN = "/var/run/mahavishnu", "stdin"

#: Leads a file to the standard input of a command; both are arguments, nothing is pasted into it.
_WITH_STDIN = 'exec "$@" <"$0"'

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_SECRET_KEY = re.compile(r"[A-Za-z0-9._-]{1,253}")


@dataclass(frozen=True, slots=True)
class Box:
    """What a task says of its container that the pool says otherwise; None leaves it to the pool, or the image."""

    image: str | None = None
    pull: str | None = None
    workdir: str | None = None
    entrypoint: str | None = None
    resources: Manifest | None = None
    user: int | None = None
    group: int | None = None
    read_only: bool | None = None


@dataclass(frozen=True, slots=True)
class JobTask:
    """One task as it is to run. ``number`` counts its retries; ``timeout`` and ``grace`` are seconds.

    ``argv`` replaces the image's own program; with ``as_arguments`` it is given to that. ``stdin`` None is empty.
    ``kept_in`` is the name of the Secret for what must not stand in the Job (None: the Job's name).
    """

    task_id: str
    number: int
    argv: tuple[str, ...]
    timeout: float
    grace: float
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    stdin: bytes | None = field(default=None, repr=False)
    as_arguments: bool = False
    box: Box = Box()
    kept_in: str | None = None

    @property
    def name(self) -> str:
        """Return the name of its Job; a task whose bridge was lost has the same again, a retry has another."""
        return object_name("mhv", self.task_id, str(self.number))

    @property
    def secret_name(self) -> str:
        """Return the name of its Secret."""
        return self.kept_in or self.name

    @property
    def needs_secret(self) -> bool:
        """Tell whether something of it must not stand in the Job, or does not fit there."""
        return self.stdin is not None or bool(self.secrets)


def pool_selector(pool_id: str) -> str:
    """Return the selector of all Jobs and Pods of a pool."""
    return f"{POOL_ID}={label_value(pool_id)}"


def image_of(config: PoolConfig, task: JobTask) -> str:
    """Return the image of a task's container."""
    return task.box.image or kubernetes_of(config).image


def check(task: JobTask) -> None:
    """Refuse what cannot reach a container unchanged; nothing has been made so far.

    Raises:
        InvalidField: an argument or a variable is too long, or has characters that cannot be handed over.
    """
    total = 0
    for place, text in (*(("the command", one) for one in task.argv), *_variables(task.env)):
        total += _checked(place, text)
    if total > LARGEST_JOB:
        problem = f"take {total} bytes, and a Job can hold {LARGEST_JOB}"
        raise errors.InvalidField.of("command and env", problem, "Put large input into a file of a volume.")
    kept = len(task.stdin or b"")
    for name, value in task.secrets.items():
        if not _SECRET_KEY.fullmatch(name):
            raise errors.InvalidField.of("secrets", f"{name!r} cannot be a key of a Secret", "Give it another name.")
        kept += _checked(f"the secret {name}", f"{name}={value}")
    if kept > LARGEST_SECRET:
        problem = f"has {kept} bytes with the task's secrets, and a Job can be given {LARGEST_SECRET}"
        raise errors.InvalidField.of("prompt", problem, "Put large input into a file of a volume and name that.")


def _variables(env: Mapping[str, str]) -> list[tuple[str, str]]:
    bad = next((name for name in env if not _VARIABLE.fullmatch(name)), None)
    if bad is not None:
        raise errors.InvalidField.of(
            "env", f"{bad!r} cannot be the name of a variable in a container", "Use letters, digits and _."
        )
    return [(f"env.{name}", f"{name}={value}") for name, value in env.items()]


def _checked(place: str, text: str) -> int:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as exc:
        raise errors.InvalidField.of(place, "has characters that are no text", "Remove them.") from exc
    if "\0" in text:
        raise errors.InvalidField.of(place, "has a NUL character", "Remove it.")
    if size >= LONGEST_ARGUMENT:
        raise errors.InvalidField.of(
            place,
            f"has an argument or variable of {size} bytes, and Linux takes {LONGEST_ARGUMENT - 1}",
            "Use a worker type that reads prompts from standard input, or put it into a file of a volume.",
        )
    return size


def job_manifest(config: PoolConfig, task: JobTask, *, pool_id: str) -> Manifest:
    """Return the Job of a task: it runs once, ends at its deadline by itself, and goes some time after its end."""
    kubernetes = kubernetes_of(config)
    meta = _metadata(config, task, pool_id)
    spec: Manifest = {
        "backoffLimit": 0,
        "activeDeadlineSeconds": deadline(kubernetes, task),
        "ttlSecondsAfterFinished": kubernetes.ttl_seconds_after_finished,
        "template": {"metadata": {name: meta[name] for name in ("labels", "annotations")}, "spec": _pod(config, task)},
    }
    about = {"name": task.name, "namespace": kubernetes.namespace, **meta}
    if task.needs_secret:
        about["annotations"] = {**meta["annotations"], SECRET_NAME: task.secret_name}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": about, "spec": spec}


def secret_manifest(config: PoolConfig, task: JobTask, *, pool_id: str, job_uid: str) -> Manifest:
    """Return the Secret of a task, which goes with its Job."""
    data = {name: text.encode() for name, text in task.secrets.items()}
    if task.stdin is not None:
        data[_stdin_key(task)] = task.stdin
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": task.name, "uid": job_uid}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": task.secret_name,
            "namespace": kubernetes_of(config).namespace,
            **_metadata(config, task, pool_id),
            "ownerReferences": [owner],
        },
        "type": "Opaque",
        "data": {name: base64.b64encode(value).decode() for name, value in data.items()},
    }


def deadline(config: KubernetesConfig, task: JobTask) -> int:
    """Return the seconds after which the cluster itself ends a Job whose bridge is lost."""
    own = math.ceil(task.timeout + config.start_timeout + task.grace)
    return min(own, config.active_deadline_seconds or own)


def _metadata(config: PoolConfig, task: JobTask, pool_id: str) -> Manifest:
    labels = {**pool_labels(config), POOL_ID: label_value(pool_id), TASK_LABEL: label_value(task.task_id)}
    notes = {**kubernetes_of(config).annotations, TASK_ID: task.task_id}
    return {"labels": labels, "annotations": notes}


def _pod(config: PoolConfig, task: JobTask) -> Manifest:
    kubernetes = kubernetes_of(config)
    volumes = [*_own_volumes(kubernetes, task), *(pods.volume(one) for one in kubernetes.volumes)]
    return without_nothing(
        {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": math.ceil(task.grace),
            "serviceAccountName": kubernetes.service_account,
            "automountServiceAccountToken": kubernetes.service_account is not None,
            "enableServiceLinks": False,
            "securityContext": pods.pod_security(kubernetes),
            **pods.placement(kubernetes),
            "initContainers": [clone(kubernetes, _mounts(kubernetes), at=_work(kubernetes))] if kubernetes.repo else [],
            "containers": [_container(config, task)],
            "volumes": [*volumes, *git_volumes(kubernetes)],
        }
    )


def _container(config: PoolConfig, task: JobTask) -> Manifest:
    kubernetes, box = kubernetes_of(config), task.box
    argv = [pods.literal(one) for one in _with_stdin(task)]
    command = [pods.literal(box.entrypoint)] if box.entrypoint else []
    security = pods.container_security(kubernetes)
    security |= without_nothing({"runAsUser": box.user, "runAsGroup": box.group})
    if box.read_only is not None:
        security["readOnlyRootFilesystem"] = box.read_only
    return without_nothing(
        {
            "name": CONTAINER,
            "image": image_of(config, task),
            "imagePullPolicy": box.pull or kubernetes.image_pull_policy,
            "command": command if task.as_arguments else argv,
            "args": argv if task.as_arguments else [],
            "workingDir": box.workdir or _work(kubernetes),
            "envFrom": pods.env_from(kubernetes.env_from),
            "env": _env(kubernetes, task),
            "resources": box.resources or pods.resources(kubernetes),
            "securityContext": security,
            "volumeMounts": _mounts(kubernetes, task),
        }
    )


def _with_stdin(task: JobTask) -> tuple[str, ...]:
    if task.stdin is None:
        return task.argv
    return ("sh", "-c", _WITH_STDIN, f"{_PRIVATE}/{_stdin_key(task)}", *task.argv)


def _stdin_key(task: JobTask) -> str:
    """Return a key that none of the secrets has."""
    key = _STDIN
    while key in task.secrets:
        key += "-"
    return key


def _env(kubernetes: KubernetesConfig, task: JobTask) -> list[Manifest]:
    plain = {"HOME": pods.TEMPORARY, **git_env(kubernetes), **kubernetes.env, **task.env}
    found: list[Manifest] = [{"name": name, "value": pods.literal(value)} for name, value in plain.items()]
    for name in task.secrets:
        found.append({"name": name, "valueFrom": {"secretKeyRef": {"name": task.secret_name, "key": name}}})
    return found


def _work(kubernetes: KubernetesConfig) -> str:
    return kubernetes.workdir or WORK


def _writable(kubernetes: KubernetesConfig) -> dict[str, str]:
    taken = {one.mount_path for one in kubernetes.volumes}
    paths = {"mahavishnu-work": _work(kubernetes), "mahavishnu-tmp": pods.TEMPORARY}
    return {name: path for name, path in paths.items() if path not in taken}


def _own_volumes(kubernetes: KubernetesConfig, task: JobTask) -> list[Manifest]:
    found: list[Manifest] = [{"name": name, "emptyDir": {}} for name in _writable(kubernetes)]
    if task.stdin is not None:
        key = _stdin_key(task)
        source = {"secretName": task.secret_name, "items": [{"key": key, "path": key}]}
        found.append({"name": "mahavishnu-task", "secret": source})
    return found


def _mounts(kubernetes: KubernetesConfig, task: JobTask | None = None) -> list[Manifest]:
    found: list[Manifest] = [
        {"name": name, "mountPath": path} for name, path in sorted(_writable(kubernetes).items(), reverse=True)
    ]
    if task is not None and task.stdin is not None:
        found.append({"name": "mahavishnu-task", "mountPath": _PRIVATE, "readOnly": True})
    return [*found, *(pods.mount(one) for one in kubernetes.volumes)]
