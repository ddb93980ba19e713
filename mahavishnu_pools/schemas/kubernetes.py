"""How a pool of type ``kubernetes`` is made."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from mahavishnu_pools.schemas.base import Value
from mahavishnu_pools.schemas.container import Image
from mahavishnu_pools.schemas.kubernetes_parts import (
    EnvSource,
    PodSecurity,
    Repository,
    Resources,
    SecretKey,
    Toleration,
    Volume,
)
from mahavishnu_pools.schemas.kubernetes_text import (
    Annotations,
    ContainerPath,
    DnsLabel,
    Labels,
    Share,
    Subdomain,
    Variables,
)
from mahavishnu_pools.schemas.secret_names import looks_secret
from mahavishnu_pools.wording import short

#: The image of the containers of mode ``job`` when none is named.
DEFAULT_JOB_IMAGE = "python:3.13-slim"

#: Labels and annotations of this project begin with this; nobody else may set them.
OWN_PREFIX = "mahavishnu.io/"

#: Variables of Pods that this program sets, and what to do instead of setting them.
_OURS = {
    "MAHAVISHNU_REDIS_URL": "name a Secret with it in redis_url_secret",
    **dict.fromkeys(("MAHAVISHNU_NODE_NAME", "MAHAVISHNU_ONLY_POOL", "MAHAVISHNU_DATA_DIR"), "leave it out"),
}

#: A day in seconds.
_DAY = 86400


class KubernetesConfig(Value):
    """Where and how a pool's Pods run; times are seconds.

    ``mode: job`` makes one Job per task; ``mode: deployment`` runs worker groups in a Deployment. ``context`` and
    ``kubeconfig`` say which cluster (None: the current context of the usual file, or the cluster this runs in);
    ``in_cluster`` insists on the latter. ``container_image`` None is python:3.13-slim for jobs; a deployment needs an
    image that holds this package. ``grace_period`` is the time between TERM and KILL (None: that of the settings).

    For jobs: ``active_deadline_seconds`` limits every Job, beside the task's own timeout;
    ``ttl_seconds_after_finished`` is how long a Job stays when nobody removed it; ``start_timeout`` is how long a Pod
    may wait for a node and its image. ``repo`` is cloned into ``workdir``.

    For deployments: each Pod has ``workers_per_pod`` workers. ``metric`` is what the autoscaler looks at: the CPU
    (``target_cpu`` per cent of what is requested), or waiting and running tasks (``target_load`` per worker), which it
    finds among the external metrics, or with ``autoscaling: keda`` at ``prometheus_url``.
    ``max_unavailable`` is how many Pods may be evicted at once. ``redis_url_secret`` names a Secret with the URL of
    Redis as Pods reach it (None: a Secret is made).
    """

    mode: Literal["job", "deployment"] = "job"
    namespace: DnsLabel = "mahavishnu"
    create_namespace: bool = False
    context: str | None = Field(default=None, min_length=1, max_length=500)
    kubeconfig: str | None = Field(default=None, min_length=1)
    in_cluster: bool = False

    container_image: Image | None = None
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    image_pull_secrets: tuple[Subdomain, ...] = ()
    env: Variables = Field(default_factory=dict)
    env_from: tuple[EnvSource, ...] = ()
    volumes: tuple[Volume, ...] = ()
    workdir: ContainerPath | None = None
    repo: Repository | None = None

    resources: Resources = Resources()
    node_selector: Labels = Field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    priority_class: Subdomain | None = None
    service_account: Subdomain | None = None
    labels: Labels = Field(default_factory=dict)
    annotations: Annotations = Field(default_factory=dict)
    security_context: PodSecurity = PodSecurity()
    grace_period: int | None = Field(default=None, ge=0, le=_DAY)

    active_deadline_seconds: int | None = Field(default=None, ge=1, le=365 * _DAY)
    ttl_seconds_after_finished: int = Field(default=300, ge=0, le=365 * _DAY)
    start_timeout: float = Field(default=300.0, gt=0, le=_DAY, allow_inf_nan=False)

    workers_per_pod: int = Field(default=1, ge=1, le=1000)
    autoscaling: Literal["hpa", "keda", "none"] = "hpa"
    metric: Literal["cpu", "queue"] = "cpu"
    target_cpu: int = Field(default=70, ge=1, le=1000)
    target_load: float = Field(default=1.0, gt=0, le=1_000_000, allow_inf_nan=False)
    prometheus_url: str | None = Field(default=None, pattern=r"^https?://[^\s@]+$")
    scale_down_seconds: int = Field(default=300, ge=0, le=3600)
    max_unavailable: Share = "1"
    redis_url_secret: SecretKey | None = None

    @field_validator("env")
    @classmethod
    def _holds_no_secrets(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        for name, text in value.items():
            if name in _OURS:
                raise ValueError(f"{name} is set by this program; {_OURS[name]}")
            if looks_secret(name, text):
                raise ValueError(f"{name} looks like a secret; put it into a Secret and name that in env_from")
        return value

    @field_validator("labels", "annotations")
    @classmethod
    def _leaves_our_own(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        for name in value:
            if name.startswith((OWN_PREFIX, "app.kubernetes.io/managed-by")):
                raise ValueError(f"{name} is set by this program; choose another key")
        return value

    @field_validator("volumes")
    @classmethod
    def _are_told_apart(cls, value: tuple[Volume, ...]) -> tuple[Volume, ...]:
        for what in ("name", "mount_path"):
            seen = [getattr(one, what) for one in value]
            twice = next((one for one in seen if seen.count(one) > 1), None)
            if twice is not None:
                raise ValueError(f"two volumes have the {what} {twice!r}")
        return value

    @model_validator(mode="after")
    def _can_be_made(self) -> Self:
        if self.in_cluster and (self.context or self.kubeconfig):
            raise ValueError("in_cluster excludes context and kubeconfig; give the one or the others")
        if self.mode == "deployment":
            self._check_deployment()
        return self

    def _check_deployment(self) -> None:
        if self.container_image is None:
            raise ValueError(
                "mode: deployment needs container_image, an image that holds this package; the Dockerfile builds one"
            )
        if self.repo is not None:
            raise ValueError("repo is for mode: job; in a deployment tasks name their directory")
        if self.autoscaling == "none":
            return
        if self.metric == "cpu" and self.resources != Resources() and "cpu" not in self.resources.asked:
            raise ValueError(
                "an autoscaler on metric: cpu needs resources.requests.cpu; add it, or choose metric: queue or "
                "autoscaling: none"
            )
        if self.autoscaling == "keda" and self.metric == "queue" and self.prometheus_url is None:
            raise ValueError("autoscaling: keda on metric: queue needs prometheus_url, where the metric is scraped to")

    @property
    def image(self) -> str:
        """Return the image of the containers."""
        return self.container_image or DEFAULT_JOB_IMAGE


def gathered(given: Mapping[str, Any], *, others: frozenset[str]) -> dict[str, Any]:
    """Return the fields of a Kubernetes pool with all that is said of Kubernetes below ``kubernetes``.

    It may be said there, in ``extra_config``, or among the fields themselves (``others`` are names that mean something
    else there); what stands among the fields wins over ``kubernetes``.

    Raises:
        ValueError: the fields and ``extra_config`` contradict each other.
    """
    names = frozenset(KubernetesConfig.model_fields)
    nested, extra = given.get("kubernetes"), given.get("extra_config")
    rest = {name: value for name, value in given.items() if name not in names - others}
    flat = {name: value for name, value in given.items() if name in names - others}
    if isinstance(nested, KubernetesConfig):
        nested = nested.model_dump()
    if not isinstance(nested, Mapping | None) or not isinstance(extra, Mapping | None):
        return rest  # the model says what is wrong with them
    old = {name: value for name, value in (extra or {}).items() if name in names}
    for name in old.keys() & flat.keys():
        if old[name] != flat[name]:
            raise ValueError(f"{name} is {flat[name]!r}, but extra_config says {old[name]!r}; give it once")
    unknown = next((name for name in extra or {} if name not in names), None)
    if unknown is not None:
        near = difflib.get_close_matches(str(unknown), names, n=1)
        hint = f"; perhaps {near[0]!r} is meant" if near else ""
        raise ValueError(f"extra_config: {short(unknown)} is nothing that a kubernetes pool uses{hint}")
    rest["kubernetes"] = {**(nested or {}), **old, **flat}
    if extra is not None:
        rest["extra_config"] = {}
    return rest
