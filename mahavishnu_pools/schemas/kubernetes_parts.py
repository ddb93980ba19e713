"""Parts of what a Pod is given: what it may use, where it may run, what it sees, what it is allowed."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from mahavishnu_pools.schemas.base import Value
from mahavishnu_pools.schemas.container import Image
from mahavishnu_pools.schemas.kubernetes_text import (
    ContainerPath,
    DnsLabel,
    Quantity,
    Subdomain,
    is_label_key,
    is_label_value,
    quantity,
)
from mahavishnu_pools.wording import short

#: User and group that containers run as: a number, because an image may only name root.
DEFAULT_USER = 10001

_REPO_URL = re.compile(r"(?:https|ssh)://[A-Za-z0-9._~:/@%+-]+|[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:[A-Za-z0-9._~/+-]+")
_REF = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]{0,199}")
_CAPABILITY = re.compile(r"[A-Z][A-Z_]{1,40}")


def _resource_name(value: str) -> str:
    if not is_label_key(value):
        raise ValueError(f"{short(value)} is no resource; cpu, memory, ephemeral-storage or nvidia.com/gpu are some")
    return value


_ResourceName = Annotated[str, AfterValidator(_resource_name)]


class Resources(Value):
    """What a container is promised (``requests``) and what it may use at most (``limits``), by resource."""

    requests: dict[_ResourceName, Quantity] = Field(default_factory=dict)
    limits: dict[_ResourceName, Quantity] = Field(default_factory=dict)

    @property
    def asked(self) -> dict[str, str]:
        """Return what the cluster takes for requested: the requests, and limits where nothing is requested."""
        return {**self.limits, **self.requests}

    @model_validator(mode="after")
    def _can_be_granted(self) -> Self:
        for name, asked in self.requests.items():
            limit = self.limits.get(name)
            if limit is not None and quantity(asked) > quantity(limit):
                raise ValueError(
                    f"requests {asked} of {name}, more than its limit of {limit}; lower the one or raise the other"
                )
        return self


class Toleration(Value):
    """A taint of nodes that Pods put up with; without a key: every taint. ``toleration_seconds`` is for NoExecute."""

    key: str | None = None
    operator: Literal["Exists", "Equal"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: int | None = Field(default=None, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _may_be_written_as_in_manifests(cls, value: Any) -> Any:
        if isinstance(value, dict) and "tolerationSeconds" in value:
            return {
                **{k: v for k, v in value.items() if k != "tolerationSeconds"},
                "toleration_seconds": value["tolerationSeconds"],
            }
        return value

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.key is not None and not is_label_key(self.key):
            raise ValueError(f"{short(self.key)} cannot be the key of a taint")
        if self.key is None and self.operator == "Equal":
            raise ValueError("a toleration without a key needs operator: Exists")
        if self.operator == "Exists" and self.value:
            raise ValueError("a toleration with operator: Exists has no value")
        if self.value is not None and not is_label_value(self.value):
            raise ValueError(f"{short(self.value)} cannot be the value of a taint")
        if self.toleration_seconds is not None and self.effect != "NoExecute":
            raise ValueError("toleration_seconds needs effect: NoExecute")
        return self


class EnvSource(Value):
    """A Secret or a ConfigMap whose keys become variables; as text ``secret:NAME`` or ``configmap:NAME``."""

    kind: Literal["secret", "configmap"]
    name: Subdomain
    prefix: str = Field(default="", pattern=r"^([A-Za-z_][A-Za-z0-9_.-]*)?$")
    optional: bool = False

    @model_validator(mode="before")
    @classmethod
    def _may_be_text(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        kind, colon, name = value.partition(":")
        if not colon:
            raise ValueError(f"{short(value)} must be secret:NAME or configmap:NAME")
        return {"kind": kind, "name": name}


class SecretKey(Value):
    """One value of a Secret that exists in the namespace; as text ``NAME/KEY``."""

    name: Subdomain
    key: str = Field(pattern=r"^[A-Za-z0-9._-]{1,253}$")

    @model_validator(mode="before")
    @classmethod
    def _may_be_text(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        name, slash, key = value.partition("/")
        if not slash:
            raise ValueError(f"{short(value)} must be written NAME/KEY, of a Secret in the namespace")
        return {"name": name, "key": key}


class Volume(Value):
    """Files in the container at ``mount_path``, of exactly one source.

    ``claim`` names a PersistentVolumeClaim, ``secret`` and ``config_map`` name those objects, ``empty_dir`` is the most
    an empty directory may hold (such as ``1Gi``). Secrets and ConfigMaps are always read-only.
    """

    name: DnsLabel
    mount_path: ContainerPath
    claim: Subdomain | None = None
    secret: Subdomain | None = None
    config_map: Subdomain | None = None
    empty_dir: Quantity | None = None
    sub_path: str | None = Field(default=None, min_length=1)
    read_only: bool = False

    @field_validator("sub_path")
    @classmethod
    def _stays_inside(cls, value: str | None) -> str | None:
        if value is not None and (value.startswith("/") or ".." in value.split("/")):
            raise ValueError("must be a relative path without '..'")
        return value

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        given = [name for name in ("claim", "secret", "config_map", "empty_dir") if getattr(self, name) is not None]
        if len(given) != 1:
            said = " and ".join(given) or "none"
            raise ValueError(f"volume {self.name!r} needs one of claim, secret, config_map, empty_dir; it has {said}")
        return self


class Repository(Value):
    """A git repository that an init container clones into the work directory; as text ``URL`` or ``URL#REF``.

    ``ref`` is a branch, tag or commit (None: the default branch), ``depth`` how much history comes (0: all of it),
    ``image`` one that holds git. ``secret`` names a Secret of type ``kubernetes.io/ssh-auth`` or
    ``kubernetes.io/basic-auth`` for a private repository.
    """

    url: str
    ref: str | None = None
    depth: int = Field(default=1, ge=0, le=1_000_000)
    image: Image = "alpine/git:v2.49.1"
    secret: Subdomain | None = None

    @model_validator(mode="before")
    @classmethod
    def _may_be_text(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        url, mark, ref = value.partition("#")
        return {"url": url, "ref": ref} if mark else {"url": url}

    @field_validator("url")
    @classmethod
    def _url_is_usable(cls, value: str) -> str:
        if not _REPO_URL.fullmatch(value):
            raise ValueError("must begin with https:// or ssh://, or be written git@host:path")
        if re.match(r"https://[^/]*@", value):
            raise ValueError("holds a user name or password; name a Secret in repo.secret instead")
        return value

    @field_validator("ref")
    @classmethod
    def _ref_is_usable(cls, value: str | None) -> str | None:
        if value is not None and (not _REF.fullmatch(value) or ".." in value):
            raise ValueError(f"{short(value)} is no branch, tag or commit")
        return value


class PodSecurity(Value):
    """What a container is allowed; the defaults keep to the Pod security standard ``restricted``.

    Images whose programs must write to their own files need ``read_only_root: false``; those that must be root need
    ``run_as_non_root: false`` and ``run_as_user: 0``. ``/tmp`` and the work directory can be written in any case.
    """

    run_as_non_root: bool = True
    run_as_user: int | None = Field(default=DEFAULT_USER, ge=0, le=2**31 - 1)
    run_as_group: int | None = Field(default=DEFAULT_USER, ge=0, le=2**31 - 1)
    fs_group: int | None = Field(default=DEFAULT_USER, ge=0, le=2**31 - 1)
    allow_privilege_escalation: bool = False
    read_only_root: bool = True
    add_capabilities: tuple[str, ...] = ()
    seccomp: Literal["RuntimeDefault", "Unconfined"] = "RuntimeDefault"

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.run_as_non_root and self.run_as_user == 0:
            raise ValueError("run_as_user is 0, which is root; set run_as_non_root: false to allow that")
        for one in self.add_capabilities:
            if not _CAPABILITY.fullmatch(one) or one.startswith("CAP_"):
                raise ValueError(f"{short(one)} is no capability; write NET_BIND_SERVICE, without CAP_")
        return self
