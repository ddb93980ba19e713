"""Settings: environment ``MAHAVISHNU_*``, then ``settings/mahavishnu.yaml``, then the defaults below."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from mahavishnu_pools import errors
from mahavishnu_pools.refusals import refusal
from mahavishnu_pools.setting_slips import UnknownSettingWarning, warn_of_near_variables, warn_of_unknown_keys

__all__ = [
    "DAY",
    "DEFAULT_SETTINGS_FILE",
    "Settings",
    "UnknownSettingWarning",
    "load_settings",
    "settings_file",
    "user_data_dir",
]

#: Where the settings file is looked for when MAHAVISHNU_SETTINGS_FILE names none: below the current directory.
DEFAULT_SETTINGS_FILE = Path("settings/mahavishnu.yaml")


#: Seconds of a day.
DAY = 86400.0

#: Bytes that Redis holds in one value.
VALUE_BYTES = 512 * 1024 * 1024

#: Lists that the environment may hold as JSON or separated by commas.
Names = Annotated[tuple[str, ...], NoDecode]
Paths = Annotated[tuple[Path, ...], NoDecode]


#: Whether the stack has a part. YAML reads a bare on or off as true or false.
Switch = Annotated[
    Literal["auto", "on", "off"],
    BeforeValidator(lambda value: {True: "on", False: "off"}[value] if isinstance(value, bool) else value),
]

#: Servers, the name they know the primary by, and its database.
_SENTINEL_URL = re.compile(r"sentinel://([^@/]*@)?[^/@,?]+(,[^/@,?]+)*/[^/?]+(/\d+)?(\?.*)?")

#: The author of commits in worktrees, and how one is written.
_AUTHOR, _NAMED = "Mahavishnu <mahavishnu@localhost>", r"^[^<>\x00-\x1f]*[^<>\s\x00] <[^<>\s\x00]+>$"


def user_data_dir() -> Path:
    """Return where this user's local stack keeps its state when nothing else is configured."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "mahavishnu"
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "mahavishnu"


class Settings(BaseSettings):
    """All settings. Times are seconds, sizes bytes. The environment has them in upper case with ``MAHAVISHNU_``.

    A list in the environment is JSON, or names separated by commas.
    """

    model_config = SettingsConfigDict(
        env_prefix="MAHAVISHNU_", extra="ignore", frozen=True, env_ignore_empty=True, allow_inf_nan=False
    )

    # where things are
    redis_url: SecretStr | None = Field(default=None, description="An own Redis or Valkey; None: the local stack's.")
    data_dir: Path = Field(default_factory=user_data_dir, description="State of the local stack.")
    namespace: str = Field(
        default="", pattern=r"^[A-Za-z0-9._-]{0,40}$", description="Prefix of every key, queue and channel."
    )
    redis_port: int = Field(default=0, ge=0, le=65535, description="Port of the embedded server; 0: any free one.")
    node_name: str | None = Field(default=None, description="Name of this node; None: the host's name.")
    node_tags: Names = Field(default=(), description="Tags this node announces (pools ask for them in `nodes`).")
    node_resources: Names = Field(
        default=(),
        description="What tasks may need of this node, as `gpu=2,memory=64GiB`; processors, memory and GPUs are found.",
    )
    resource_patience: float = Field(
        default=30.0, ge=0, le=DAY, description="How long a task that needs much of a node may be overtaken by others."
    )
    node_region: str = Field(default="default", description="Region this node is in.")
    only_pool: str | None = Field(
        default=None,
        description="Name of the one pool this agent runs, as in each Pod of a Kubernetes deployment; None: any.",
    )
    kubernetes_redis_url: SecretStr | None = Field(
        default=None, description="Redis as the Pods of deployments reach it; None: `redis_url`."
    )

    # pools
    pools_enabled: bool = True
    default_pool_type: str = "mahavishnu"
    pool_routing_strategy: Literal["round_robin", "least_loaded", "random", "affinity"] = "least_loaded"
    pool_default_min_workers: int = Field(default=1, ge=1, le=1000)
    pool_default_max_workers: int = Field(default=10, ge=1, le=1000)
    autoscale_wait: float = Field(
        default=2.0, gt=0, le=DAY, description="Pools with `auto_scale` grow so that no task waits longer."
    )
    autoscale_quiet: float = Field(
        default=60.0, gt=0, le=DAY, description="They shrink to what they needed at most in this time."
    )
    autoscale_hold: float = Field(
        default=600.0, ge=0, le=30 * DAY, description="A number of workers chosen by hand stays this long."
    )
    spawn_timeout: float = Field(default=30.0, gt=0, le=DAY, description="How long spawning waits for the workers.")
    default_worker_type: str | None = Field(default=None, description="Worker type of pools that name none.")
    allowed_roots: Paths = Field(default=(), description="Where tasks may run; empty: where the agent was started.")
    imports: Names = Field(default=(), description="Modules every worker group loads.")
    celery_app: str | None = Field(
        default=None, description="The user's Celery app, as module:attribute, for worker groups."
    )
    python_callables: Names = Field(
        default=(), description="What task type `python` may call: module:function or module:*."
    )
    worker_types_file: Path | None = Field(default=None, description="YAML with more worker types.")
    worktree_author: str = Field(default=_AUTHOR, pattern=_NAMED, description="Author of commits in worktrees.")

    # tasks
    max_payload_bytes: int = Field(default=1024 * 1024, ge=1024, le=VALUE_BYTES)
    max_output_bytes: int = Field(default=256 * 1024, ge=1024, le=VALUE_BYTES)
    max_log_bytes: int = Field(default=10 * 1024 * 1024, ge=4096, le=2 * VALUE_BYTES)
    result_expires: float = Field(default=86400.0, gt=0, le=3650 * DAY)
    dead_letter_expires: float = Field(
        default=30 * DAY,
        gt=0,
        le=3650 * DAY,
        description="How long tasks that were given up are kept, with record and output.",
    )
    submit_timeout: float = Field(
        default=5.0, gt=0, le=3600, description="Deadline of a producer's call when Redis does not answer."
    )
    kill_grace: float = Field(default=5.0, ge=0, le=3600, description="Time between TERM and KILL.")

    message_signing_key: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="Signs messages; workers then run only signed ones. `new,old` changes it.",
    )

    # delivery
    lease_ttl: float = Field(
        default=30.0,
        gt=0,
        le=DAY,
        description="How long a silent consumer keeps its claims before reapers start counting.",
    )
    node_lost_after: float = Field(default=60.0, gt=0, le=7 * DAY, description="A silent node is lost after this.")
    node_heartbeat: float = Field(default=2.0, gt=0, le=3600, description="How often an agent reports.")
    frozen_after: float = Field(
        default=30.0, gt=0, le=DAY, description="A group whose tick stands still this long is ended."
    )
    failover_after: float = Field(
        default=10.0,
        gt=0,
        le=7 * DAY,
        description="When nobody has run a pool with fail-over so long, others take its tasks over.",
    )
    drain_timeout: float = Field(default=30.0, ge=0, le=7 * DAY, description="How long a stop waits for running tasks.")
    durability: Literal["normal", "strict"] = "normal"

    # memory (the sinks come with the memory sync)
    memory_aggregation_enabled: bool = True
    memory_sync_interval: float = Field(default=60.0, gt=0, le=DAY)
    memory_keep_days: float = Field(default=400.0, ge=0, le=36500, description="Days a memory is kept; 0: for ever.")
    session_buddy_pool_url: str = "http://localhost:8678/mcp"
    session_buddy_token: SecretStr | None = Field(
        default=None, description="Bearer token for `session_buddy_pool_url`."
    )
    akosha_url: str = "http://localhost:8682/mcp"
    akosha_token: SecretStr | None = Field(default=None, description="Bearer token for `akosha_url`.")
    embedded_session_buddy: Switch = Field(
        default="auto", description="Whether the stack has a Session-Buddy; auto: unless its URL names another one."
    )
    embedded_akosha: Switch = Field(
        default="auto", description="Whether the stack has an Akosha; auto: unless its URL names another one."
    )

    # pages
    flower: Switch = Field(default="auto", description="Whether the stack has Flower; auto: if its port is free.")
    flower_port: int = Field(default=5555, ge=0, le=65535, description="Its port; 0: any free one.")
    flower_auth: SecretStr | None = Field(
        default=None, description="`user:password` (several with commas) Flower asks for; needed off loopback."
    )

    server: Switch = Field(default="auto", description="Whether the stack has the MCP and HTTP server; auto: yes.")
    server_port: int = Field(default=8680, ge=0, le=65535, description="Its port; 0: any free one.")
    server_token: SecretStr | None = Field(
        default=None, description="Bearer token of its tools, needed off loopback: `new,old`, or `@FILE`."
    )
    metrics_token: SecretStr | None = Field(
        default=None, description="Bearer token of its `/metrics`; None: open. `new,old` changes it."
    )

    # older keys that keep their meaning
    workers_enabled: bool = True
    max_concurrent_workers: int = Field(default=10, ge=1, le=10_000)
    worker_default_type: str | None = Field(default=None, description="Older name of `default_worker_type`.")
    worker_timeout_seconds: float | None = Field(
        default=None, gt=0, le=7 * DAY, description="Timeout of the tasks of `WorkerManager` that have none."
    )

    @model_validator(mode="before")
    @classmethod
    def _older_names_stand_for_the_newer_ones(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("default_worker_type") is not None:
            return given
        older = given.get("worker_default_type")
        return given if older is None else {**given, "default_worker_type": older}

    @field_validator("node_tags", "node_resources", "allowed_roots", "imports", "python_callables", mode="before")
    @classmethod
    def _lists_may_be_written_with_commas(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("["):
            try:
                return json.loads(value)
            except RecursionError:
                raise ValueError("must be a list of names, not lists within lists") from None
        return [part.strip() for part in value.split(",") if part.strip()]

    @field_validator("flower_auth")
    @classmethod
    def _logins_are_complete(cls, value: SecretStr | None) -> SecretStr | None:
        logins = [] if value is None else value.get_secret_value().split(",")
        if not all(re.fullmatch(r"[^:\s]+:\S+", login) for login in logins):
            raise ValueError("must be written user:password, or user:password,other:password")
        return value

    @field_validator("redis_url", "kubernetes_redis_url")
    @classmethod
    def _redis_url_is_usable(cls, value: SecretStr | None) -> SecretStr | None:
        text = "" if value is None else value.get_secret_value()
        if text.startswith("sentinel://") and not _SENTINEL_URL.fullmatch(text):
            raise ValueError("must be written sentinel://user:password@host:port,host:port/service")
        if text and not text.startswith(("redis://", "rediss://", "unix://", "sentinel://")):
            raise ValueError("must begin with redis://, rediss://, unix:// or sentinel://")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources in order: arguments, environment, file."""
        path = settings_file()
        if not path.is_file():
            return init_settings, env_settings
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls, yaml_file=path)


def settings_file() -> Path:
    """Return the path of the settings file; it need not exist."""
    return Path(os.environ.get("MAHAVISHNU_SETTINGS_FILE") or DEFAULT_SETTINGS_FILE)


def load_settings(**overrides: Any) -> Settings:
    """Read the settings; keyword arguments win over environment and file.

    Raises:
        InvalidConfig: a value cannot be used; the message names the setting and where it came from.
    """
    warn_of_unknown_keys(settings_file(), Settings.model_fields)
    warn_of_near_variables(Settings.model_fields)
    try:
        return Settings(**overrides)
    except ValidationError as exc:
        place, problem = refusal(exc)
        name = place or "settings"
        raise errors.InvalidConfig(
            f"{name}: {problem}. Correct it in the environment (MAHAVISHNU_{name.upper()}) or in {settings_file()}.",
            setting=name,
        ) from exc
