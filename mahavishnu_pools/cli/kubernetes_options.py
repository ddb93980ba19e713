"""Options that describe pools of type ``kubernetes``, for the commands that make a pool or print its manifests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

#: Options whose values other pool types may have, too, and those that stand for themselves.
SHARED = ("namespace", "container_image")

#: What stands for ``resources``.
_RESOURCES = {"resource_requests": "requests", "resource_limits": "limits"}

_FILE = "kubernetes_file"


class Pair(click.ParamType[tuple[str, str]]):
    """The type of options that are ``KEY=VALUE``."""

    name = "pair"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Return key and value."""
        if isinstance(value, tuple):
            return value
        key, equals, text = str(value).partition("=")
        if not key or not equals:
            self.fail(f"{value!r} must be written KEY=VALUE", param, ctx)
        return key, text


def _pairs(*names: str, metavar: str, text: str) -> Callable[[Command], Command]:
    return click.option(*names, multiple=True, type=Pair(), metavar=metavar, help=f"{text} (may be repeated).")


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--mode",
        type=click.Choice(["job", "deployment"]),
        help="A Job for each task, or a Deployment of workers. [default: job]",
    ),
    click.option("--namespace", metavar="NAME", help="Its namespace. [default: mahavishnu]"),
    click.option("--create-namespace", is_flag=True, default=None, help="Make the namespace when it is missing."),
    click.option("--context", metavar="NAME", help="Context of the kubeconfig. [default: the current one]"),
    click.option(
        "--kubeconfig", metavar="FILE", help="Where clusters are described. [default: KUBECONFIG, ~/.kube/config]"
    ),
    click.option("--in-cluster", is_flag=True, default=None, help="Use the cluster this program runs in."),
    click.option(
        "--container-image",
        "--image",
        metavar="IMAGE",
        help="Image of its containers (also for worker type container). [default for Jobs: python:3.13-slim]",
    ),
    click.option(
        "--image-pull-policy", type=click.Choice(["Always", "IfNotPresent", "Never"]), help="When nodes pull the image."
    ),
    click.option(
        "--image-pull-secret",
        "image_pull_secrets",
        multiple=True,
        metavar="NAME",
        help="Secret of a private registry (may be repeated).",
    ),
    _pairs(
        "--request",
        "resource_requests",
        metavar="RESOURCE=AMOUNT",
        text="What each container is promised, such as cpu=500m",
    ),
    _pairs(
        "--limit", "resource_limits", metavar="RESOURCE=AMOUNT", text="What each container may use, such as memory=1Gi"
    ),
    _pairs("--node-selector", "node_selector", metavar="KEY=VALUE", text="Label of the nodes its Pods run on"),
    _pairs("--label", "labels", metavar="KEY=VALUE", text="Label of all its objects"),
    click.option(
        "--env-from",
        "env_from",
        multiple=True,
        metavar="secret:NAME|configmap:NAME",
        help="Source of variables of its containers (may be repeated).",
    ),
    click.option("--service-account", metavar="NAME", help="Service account of its Pods."),
    click.option("--workdir", metavar="PATH", help="Directory of the container where tasks begin."),
    click.option("--repo", metavar="URL[#REF]", help="Git repository that is cloned there for each Job."),
    click.option("--workers-per-pod", type=int, metavar="N", help="Workers of each Pod of a deployment. [default: 1]"),
    click.option(
        "--autoscaling", type=click.Choice(["hpa", "keda", "none"]), help="What scales a deployment. [default: hpa]"
    ),
    click.option("--redis-url-secret", metavar="NAME/KEY", help="Secret with the URL of Redis as Pods reach it."),
    click.option(
        "--kubernetes-file",
        _FILE,
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        help="YAML with these and all other fields (tolerations, volumes, security_context …).",
    ),
)

#: The names of these fields of a pool, as the commands get them.
NAMES = (
    *SHARED,
    *("mode", "create_namespace", "context", "kubeconfig", "in_cluster", "image_pull_policy", "image_pull_secrets"),
    *("node_selector", "labels", "env_from", "service_account", "workdir", "repo", "workers_per_pod", "autoscaling"),
    *("redis_url_secret", *_RESOURCES, _FILE),
)


def kubernetes_options(command: Command) -> Command:
    """Add the options; the command hands what it gets to ``kubernetes_fields``."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def kubernetes_fields(given: dict[str, Any], *, is_kubernetes: bool) -> dict[str, Any]:
    """Take these options out of what was ``given`` and return the fields of a pool they stand for.

    Raises:
        InvalidField: some are given for a pool of another type.
        InvalidConfig: the file cannot be read.
    """
    taken = {name: given.pop(name) for name in NAMES if name in given}
    if not is_kubernetes:
        return {"extra_config": _of_another_type(taken)}
    file = taken.pop(_FILE, None)
    resources = {part: dict(taken.pop(name)) for name, part in _RESOURCES.items() if name in taken}
    for name in ("node_selector", "labels"):
        if name in taken:
            taken[name] = dict(taken[name])
    # Options win over the file.
    fields = {**(_read(file) if file else {}), **taken}
    if resources:
        said = fields.get("resources") or {}
        fields["resources"] = {**said, **{part: {**said.get(part, {}), **new} for part, new in resources.items()}}
    return fields


def _of_another_type(taken: dict[str, Any]) -> dict[str, Any]:
    from mahavishnu_pools import errors

    strange = next((name for name in taken if name not in SHARED), None)
    if strange is not None:
        raise errors.InvalidField.of(
            strange, "is for pools of type kubernetes", "Add --type kubernetes, or leave it out."
        )
    return taken


def _read(path: Path) -> dict[str, Any]:
    from mahavishnu_pools import errors
    from mahavishnu_pools.schemas.kubernetes import KubernetesConfig
    from mahavishnu_pools.wording import did_you_mean, short
    from mahavishnu_pools.yaml_file import read_yaml

    content = read_yaml(path, setting="--kubernetes-file")
    if not isinstance(content, dict):
        raise errors.InvalidConfig(f"--kubernetes-file: {path} must hold 'name: value' lines.", file=str(path))
    for name in content:
        if name not in KubernetesConfig.model_fields:
            hint = did_you_mean(name, KubernetesConfig.model_fields)
            text = f"--kubernetes-file: {path}: {short(name)} is no field of a kubernetes pool. {hint}".rstrip()
            raise errors.InvalidConfig(text, file=str(path))
    return content
