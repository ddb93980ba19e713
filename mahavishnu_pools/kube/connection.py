"""Finds the cluster a pool means and the credentials for it: a kubeconfig's context, or the cluster this runs in."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

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


class Login:
    """A client of the API; ``fingerprint`` tells the credentials it was made with from others."""

    def __init__(self, api: ApiClient, fingerprint: str) -> None:
        self.api, self.fingerprint = api, fingerprint
        self._users = 0
        self._retired = False

    @asynccontextmanager
    async def used(self) -> AsyncIterator[Self]:
        """Keep it open meanwhile."""
        self._users += 1
        try:
            yield self
        finally:
            self._users -= 1
            if self._retired and not self._users:
                await self.api.close()

    async def retire(self, *, at_once: bool = False) -> None:
        """Close it when nobody uses it any more, or at once."""
        self._retired = True
        if at_once or not self._users:
            await self.api.close()


async def log_in(config: KubernetesConfig) -> tuple[Login, Place]:
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
    # In threads, as all that reads files: a file may be on a disk that is far away.
    files = None if config.in_cluster else await asyncio.to_thread(_files, config)
    if files is None:
        await asyncio.to_thread(_load_inside, made)
    else:
        context = await _load_files(made, files, config.context)
    try:
        fingerprint = await asyncio.to_thread(_fingerprint, made)
        return Login(ApiClient(made), fingerprint), Place(made.host, context)
    except OSError as exc:
        raise errors.InvalidField.of(
            "context", f"its certificates cannot be used: {exc}", "Correct the file, or choose another context."
        ) from exc


def _fingerprint(made: Any) -> str:
    """Return what changes with the tokens and with the content of the client's certificate and key."""
    texts = [one.encode() for pair in sorted(made.api_key.items()) for one in pair]
    texts += [Path(one).read_bytes() if one else b"" for one in (made.cert_file, made.key_file)]
    return hashlib.blake2s(b"".join(b"%d:%s" % (len(one), one) for one in texts)).hexdigest()


def pinned(config: KubernetesConfig) -> KubernetesConfig:
    """Return the configuration with the file and the context it means here and now.

    Whoever runs the pool later has another directory and environment, and the current context is somebody else's to
    change.

    Raises:
        ClusterUnavailable, InvalidField: see ``log_in``.
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
    from kubernetes.aio.config.kube_config import KubeConfigLoader

    merged, wanted = await asyncio.to_thread(_merged, files, context)
    try:
        loader = KubeConfigLoader(config_dict=merged, config_base_path=None, active_context=wanted)
        await loader.load_and_set(made)
    # The border of the credentials of a stranger's file, and of the programs it names: many kinds of errors.
    except Exception as exc:
        raise errors.InvalidField.of(
            "context", f"{wanted!r} of {files} cannot be used: {exc}", "Correct the file, or choose another context."
        ) from exc
    return wanted


def _context(files: str, given: str | None) -> str:
    return _merged(files, given)[1]


def _merged(files: str, given: str | None) -> tuple[Any, str]:
    """Return what the files say together, and the context that is meant: that which was given, else the current one."""
    merged, names, current = _read(files)
    wanted = given or current
    if wanted is None or wanted not in names:
        problem = f"{short(wanted)} is not in {files}" if wanted else f"is not given, and {files} has no current one"
        remedy = f"{did_you_mean(wanted or '', names)}Contexts that exist: {', '.join(sorted(names)) or 'none'}."
        raise errors.InvalidField.of("context", problem, remedy)
    return merged, wanted


def _read(files: str) -> tuple[Any, list[str], str | None]:
    import yaml
    from kubernetes.aio.config.kube_config import KubeConfigMerger

    try:
        merged = KubeConfigMerger(files).config
        names = [str(one["name"]) for one in merged.value["contexts"]]
        return merged, names, merged.value.get("current-context") or None
    except (OSError, UnicodeError, yaml.YAMLError, LookupError, TypeError, AttributeError) as exc:
        raise errors.InvalidField.of("kubeconfig", f"{files} cannot be read: {exc}", "Correct it.") from exc
