"""A git repository in a Pod: the init container that clones it, and what git needs to be at home there. Pure."""

from __future__ import annotations

from mahavishnu_pools.kube import pods
from mahavishnu_pools.kube.objects import Manifest, without_nothing
from mahavishnu_pools.schemas.kubernetes import KubernetesConfig
from mahavishnu_pools.schemas.kubernetes_parts import Repository

#: The init container that clones.
CONTAINER = "clone"

#: Fetches one revision, which may be a branch, a tag or a commit; what differs comes as arguments, never as its text.
_SCRIPT = (
    'set -e; git init -q .; git remote add origin -- "$1"; '
    'git fetch -q ${3:+"--depth=$3"} -- origin "$2"; git checkout -q FETCH_HEAD'
)

#: Where the key of a private repository is seen.
_KEY = "/var/run/mahavishnu-git"

_SSH = f"ssh -i {_KEY}/ssh-privatekey -o IdentitiesOnly=yes -o StrictHostKeyChecking=accept-new"

#: Answers git's question for a password from two variables.
_HELPER = '!f() { echo "username=$GIT_USERNAME"; echo "password=$GIT_PASSWORD"; }; f'


def clone(config: KubernetesConfig, mounts: list[Manifest], *, at: str) -> Manifest:
    """Return the init container that clones the pool's repository into the directory ``at``."""
    repo = config.repo
    assert repo is not None, "asked for with a repository only"
    script = [_SCRIPT, "clone", repo.url, repo.ref or "HEAD", str(repo.depth or "")]
    key: list[Manifest] = [{"name": "mahavishnu-git", "mountPath": _KEY, "readOnly": True}] if _by_key(repo) else []
    return without_nothing(
        {
            "name": CONTAINER,
            "image": repo.image,
            "imagePullPolicy": config.image_pull_policy,
            "command": ["sh", "-c", *(one.replace("$", "$$") for one in script)],
            "workingDir": at,
            "env": [{"name": "HOME", "value": pods.TEMPORARY}, *_plain(git_env(config)), *_access(repo)],
            "resources": pods.resources(config),
            "securityContext": pods.container_security(config),
            "volumeMounts": [*mounts, *key],
        }
    )


def git_env(config: KubernetesConfig) -> dict[str, str]:
    """Return the variables that let git work in a directory whose owner is another; nothing without a repository."""
    if config.repo is None:
        return {}
    return {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}


def git_volumes(config: KubernetesConfig) -> list[Manifest]:
    """Return the volume with the key of a private repository, if there is one."""
    if config.repo is None or not _by_key(config.repo):
        return []
    # ssh takes no key that others than its owner and group can read.
    return [{"name": "mahavishnu-git", "secret": {"secretName": config.repo.secret, "defaultMode": 0o440}}]


def _by_key(repo: Repository) -> bool:
    return repo.secret is not None and not repo.url.startswith("https://")


def _access(repo: Repository) -> list[Manifest]:
    if repo.secret is None:
        return []
    if _by_key(repo):
        return _plain({"GIT_SSH_COMMAND": _SSH})
    helper = {"GIT_CONFIG_COUNT": "2", "GIT_CONFIG_KEY_1": "credential.helper", "GIT_CONFIG_VALUE_1": _HELPER}
    found = _plain({**helper, "GIT_TERMINAL_PROMPT": "0"})
    for name, key in (("GIT_USERNAME", "username"), ("GIT_PASSWORD", "password")):
        found.append({"name": name, "valueFrom": {"secretKeyRef": {"name": repo.secret, "key": key}}})
    return found


def _plain(variables: dict[str, str]) -> list[Manifest]:
    return [{"name": name, "value": value.replace("$", "$$")} for name, value in variables.items()]
