"""Finds the cluster a pool means and the credentials for it: a kubeconfig's context, or the cluster this runs in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mahavishnu_pools import errors
from mahavishnu_pools.kube.refusals import Place
from mahavishnu_pools.schemas.kubernetes import KubernetesConfig
from mahavishnu_pools.wording import did_you_mean, short

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

#: Where the configuration is when nobody says otherwise.
_USUAL = "~/.kube/config"

#: Names the file or files, joined by the system's separator of paths.
_VARIABLE = "KUBECONFIG"

#: Is set in every container of a cluster.
_INSIDE = "KUBERNETES_SERVICE_HOST"


async def connect(config: KubernetesConfig) -> tuple[ApiClient, Place]:
    """Return a client of the API with its credentials, and the place for messages. Nothing is sent yet.

    Raises:
        ClusterUnavailable: no cluster is configured here.
        InvalidField: the file or the context cannot be used; the message lists the contexts that exist.
    """
    from kubernetes.aio.client import ApiClient, Configuration

    made = Configuration()
    # As many as there are streams: each task that runs is followed by one.
    made.connection_pool_maxsize = 0
    context = None
    files = None if config.in_cluster else _files(config)
    if files is None:
        _load_inside(made)
    else:
        context = await _load_files(made, files, config.context)
    return ApiClient(made), Place(made.host, context)


def pinned(config: KubernetesConfig) -> KubernetesConfig:
    """Return the configuration with the file and the context it means here and now.

    Whoever runs the pool later has another directory and environment, and the current context is somebody else's to
    change.

    Raises:
        ClusterUnavailable, InvalidField: see ``connect``.
    """
    files = None if config.in_cluster else _files(config)
    if files is None:
        return config
    given = config.kubeconfig or os.environ.get(_VARIABLE)
    kubeconfig = os.pathsep.join(os.path.abspath(one) for one in files.split(os.pathsep)) if given else None
    return config.model_copy(update={"kubeconfig": kubeconfig, "context": _context(files, config.context)})


def _files(config: KubernetesConfig) -> str | None:
    """Return the kubeconfig, None where this runs in a cluster and has no other."""
    given = config.kubeconfig or os.environ.get(_VARIABLE) or _USUAL
    there = [path for path in given.split(os.pathsep) if path and Path(path).expanduser().is_file()]
    if there:
        return os.pathsep.join(str(Path(path).expanduser()) for path in there)
    if config.kubeconfig:
        raise errors.InvalidField.of("kubeconfig", f"{short(config.kubeconfig)} is no file here", "Name one that is.")
    if config.context is None and os.environ.get(_INSIDE):
        return None
    raise errors.ClusterUnavailable(
        f"No Kubernetes cluster is configured: {given} does not exist, and this does not run in a cluster. "
        f"Name a file in kubeconfig or in {_VARIABLE}.",
        cluster=None,
    )


def _load_inside(made: Any) -> None:
    from kubernetes.aio import config as loading

    try:
        loading.load_incluster_config(client_configuration=made)
    except loading.ConfigException as exc:
        raise errors.ClusterUnavailable(
            f"in_cluster: this does not run in a cluster with a service account ({exc}). Name a context instead.",
            cluster=None,
        ) from exc


async def _load_files(made: Any, files: str, context: str | None) -> str:
    from kubernetes.aio import config as loading

    wanted = _context(files, context)
    try:
        await loading.load_kube_config(files, context=wanted, client_configuration=made, persist_config=False)
    # The border of the credentials of a stranger's file, and of the programs it names: many kinds of errors.
    except Exception as exc:
        raise errors.InvalidField.of(
            "context", f"{wanted!r} of {files} cannot be used: {exc}", "Correct the file, or choose another context."
        ) from exc
    return wanted


def _context(files: str, given: str | None) -> str:
    """Return the context that is meant: the one that was given, else the current one of the files."""
    names, current = _contexts(files)
    wanted = given or current
    if wanted is None or wanted not in names:
        problem = f"{short(wanted)} is not in {files}" if wanted else f"is not given, and {files} has no current one"
        remedy = f"{did_you_mean(wanted or '', names)}Contexts that exist: {', '.join(sorted(names)) or 'none'}."
        raise errors.InvalidField.of("context", problem, remedy)
    return wanted


def _contexts(files: str) -> tuple[list[str], str | None]:
    import yaml
    from kubernetes.aio.config.kube_config import KubeConfigMerger

    try:
        merged = KubeConfigMerger(files).config.value
        names = [str(one["name"]) for one in merged["contexts"]]
        return names, merged.get("current-context") or None
    except (OSError, UnicodeError, yaml.YAMLError, LookupError, TypeError, AttributeError) as exc:
        raise errors.InvalidField.of("kubeconfig", f"{files} cannot be read: {exc}", "Correct it.") from exc
