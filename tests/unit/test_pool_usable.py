"""Pools that would come up and run nothing are refused, and those that did not come up say what was wrong, once."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mahavishnu_pools import PoolManager, errors
from mahavishnu_pools.cli.formats.interface import Fields
from mahavishnu_pools.cli.pool_documents import pool_details
from mahavishnu_pools.pools.placement import fitting
from mahavishnu_pools.pools.spawning import pool_config
from mahavishnu_pools.pools.usable import PoolWarning, check_config, check_placement, not_up
from mahavishnu_pools.schemas.pool import PoolConfig, PoolStatus
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.store.pools import GroupInfo, NodeInfo, PoolRecord
from mahavishnu_pools.worker_types import BUILT_IN


def config(**fields: Any) -> PoolConfig:
    return PoolConfig(name="p", **fields)


def failed(reason: str | None, group_reason: str | None) -> PoolRecord:
    group = GroupInfo(node="n", status="failed", workers=1, reason=group_reason)
    figures: dict[str, Any] = {"workers": 1, "created": 1.0, "queued": 0, "running": 0, "counts": {}}
    status = PoolStatus.FAILED
    return PoolRecord("pool_p", config(), status=status, reason=reason, assigned=("n",), groups=(group,), **figures)


def node(name: str, **about: Any) -> NodeInfo:
    return NodeInfo(name=name, pid=1, started=1.0, **about)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"worker_type": "container"}, "container_image: is missing"),
        ({"worker_type": "container", "extra_config": {"container_image": "A b"}}, "no image reference"),
        ({"allowed_roots": ("src",)}, "'src' is no absolute path"),
    ],
)
def test_what_a_configuration_lacks_is_named(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(errors.InvalidField, match=text):
        check_config(config(**fields), kinds=BUILT_IN)


def test_a_container_with_an_image_and_absolute_directories_are_fine() -> None:
    image = {"container_image": "python:3.13-slim"}

    check_config(config(worker_type="container", extra_config=image, allowed_roots=("/srv",)), kinds=BUILT_IN)


def test_a_directory_that_is_not_there_is_refused_where_that_can_be_seen(tmp_path: Path) -> None:
    missing = config(allowed_roots=(str(tmp_path), str(tmp_path / "none")))

    with pytest.raises(errors.InvalidField, match=r"none' is no directory on node here"):
        check_placement(missing, ["here"], here="here")
    with pytest.raises(errors.InvalidField, match=r"… \(\d+ characters\) is no directory"):
        check_placement(config(allowed_roots=("/" + "x" * 5000,)), ["here"], here="here")
    check_placement(missing, ["elsewhere"], here="here")
    check_placement(config(allowed_roots=(str(tmp_path),)), ["here"], here="here")


def test_more_replicas_than_nodes_are_told() -> None:
    with pytest.warns(PoolWarning, match="replicas is 5, but only a, b can run pool 'p' now"):
        check_placement(config(replicas=5), ["a", "b"], here="a")


def test_a_node_nobody_knows_is_bad_input_and_one_that_is_down_is_not() -> None:
    nodes = [node("mill", tags=("gpu",)), node("farm", alive=False)]

    with pytest.raises(errors.InvalidField, match=r"'mil'.*Did you mean 'mill'.*farm, gpu, mill"):
        fitting(config(nodes=("mil",)), nodes)
    with pytest.raises(errors.NoAgent):
        fitting(config(nodes=("farm",)), nodes)
    assert fitting(config(nodes=("gpu",)), nodes) == ["mill"]


def test_workers_that_refuse_their_configuration_make_it_bad_input_said_once() -> None:
    why = "InvalidConfig: imports: 'x' cannot be imported (no such module)."
    error = not_up(failed(f"It fails again and again: {why}", why), name="p", failed=True, seconds=30)

    assert isinstance(error, errors.InvalidInput)
    assert str(error) == "imports: 'x' cannot be imported (no such module). (Pool 'p' on node n.)"


def test_workers_that_fail_otherwise_make_it_unavailable_with_each_reason_once() -> None:
    error = not_up(failed("It fails again and again: exit code 3", "exit code 3"), name="p", failed=True, seconds=30)

    assert isinstance(error, errors.PoolNotReady)
    assert str(error).count("exit code 3") == 1


@pytest.mark.parametrize("given", [{"fields": {"name": "p"}, "config": None}, {"fields": {}, "config": config()}])
def test_the_clients_setting_gives_the_worker_type_of_pools_that_name_none(given: dict[str, Any]) -> None:
    settings = Settings(default_worker_type="shell")

    assert pool_config(None, given["config"], given["fields"], settings=settings).worker_type == "shell"
    named = pool_config(None, given["config"], {**given["fields"], "worker_type": "terminal-qwen"}, settings=settings)
    assert named.worker_type == "terminal-qwen"


def test_a_pool_shows_what_it_was_made_with() -> None:
    made = config(replicas=2, allowed_roots=("/srv",), imports=("shop",), celery_app="shop:app")
    pool = replace(failed(None, None), config=made)

    info = pool.info()

    assert (info.replicas, info.allowed_roots, info.imports, info.celery_app) == (2, ("/srv",), ("shop",), "shop:app")
    fields = {
        label: value for block in pool_details(info).blocks if isinstance(block, Fields) for label, value in block.rows
    }
    assert (fields["Replicas"], fields["Allowed Roots"], fields["Imports"]) == (2, "/srv", "shop")
    assert fields["Celery App"] == "shop:app"


def test_a_configuration_that_is_a_dict_is_refused_in_a_sentence() -> None:
    with pytest.raises(errors.InvalidField, match=r"^config: is a dict\. Give a PoolConfig, or its fields by name\.$"):
        pool_config(None, {"name": "p"}, {}, settings=Settings())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "fields", "problem"),
    [
        ("mahavishnu", {"nmae": "x"}, "nmae: is unknown. Did you mean 'name'?"),
        ("mahavishnu", {"name": "x", "min_worker": 2}, "min_worker: is unknown. Did you mean 'min_workers'?"),
        ("kubernetes", {"name": "x", "repos": "a"}, "repos: is unknown. Did you mean 'repo'?"),
        ("mahavisnu", {"name": "x"}, "Unknown pool type 'mahavisnu'. Did you mean 'mahavishnu'"),
        ("mahavisnu", {}, "Unknown pool type 'mahavisnu'. Did you mean 'mahavishnu'"),
        ("mahavisnu", {"config": PoolConfig(name="x")}, "Unknown pool type 'mahavisnu'. Did you mean 'mahavishnu'"),
        ("kubernetes", {"config": PoolConfig(name="x")}, "pool_type: is 'kubernetes', but the configuration says"),
        (PoolConfig(name="x"), {}, "pool_type: is a PoolConfig. Give the name of a pool type first"),
    ],
)
async def test_a_slip_in_what_a_pool_is_made_of_is_told_without_a_stack(
    kind: Any, fields: dict[str, Any], problem: str
) -> None:
    async with PoolManager() as manager:
        with pytest.raises(errors.InvalidInput) as caught:
            await manager.spawn_pool(kind, **fields)

    assert caught.value.message.startswith(problem)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"nmae": "x"}, "nmae\n  This is no field of a pool; perhaps 'name' is meant"),
        (
            {"name": "x", "pool_typ": "kubernetes"},
            "pool_typ\n  This is no field of a pool; perhaps 'pool_type' is meant",
        ),
        ({"name": "x", "pool_type": "kubernetes", "namespaces": "a"}, "perhaps 'namespace' is meant"),
        ({"name": "x", "qqq": 1}, "This is no field of a pool; they are: name, pool_type, min_workers"),
    ],
)
def test_a_configuration_names_the_field_nearest_to_one_it_does_not_know(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(problem)) as caught:
        PoolConfig(**fields)

    assert caught.value.error_count() == 1


def test_fields_that_a_newer_version_has_written_are_left_out_where_that_is_asked_for() -> None:
    written = '{"name": "x", "colour": "red"}'

    assert PoolConfig.model_validate_json(written, extra="ignore") == PoolConfig(name="x")
