"""What a check says about limits, clocks and the server, from what these say of themselves."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from mahavishnu_pools import names
from mahavishnu_pools.checks.findings import Found, Level
from mahavishnu_pools.checks.keyspace import owner_of
from mahavishnu_pools.checks.nodes import odd_limits, odd_nodes
from mahavishnu_pools.checks.server import odd_clock, odd_server
from mahavishnu_pools.schemas.node_report import NodeLimits, NodeReport, ProgramReport
from mahavishnu_pools.schemas.pool import PoolConfig, PoolStatus
from mahavishnu_pools.store.keys import KEYS
from mahavishnu_pools.store.pools import NodeInfo, PoolRecord
from mahavishnu_pools.store.server_facts import ServerFacts
from mahavishnu_pools.worker_types import BUILT_IN, WorkerType
from tests.fixtures.containers import StandIn
from workers.agent.self_report import limits, look_at

GOOD = ServerFacts(
    append_only=True, snapshots=False, last_write_ok=True, maxmemory_policy="noeviction", maxclients=10_000
)


def pool(*, workers: int = 10, worker_type: str = "shell") -> PoolRecord:
    config = PoolConfig(name="p", max_workers=workers, worker_type=worker_type)
    return PoolRecord("pool_1", config, PoolStatus.RUNNING, 1, 0.0, None, ("n",), 0, 0, (), {})


def report(**fields: Any) -> NodeReport:
    return NodeReport(**{"request": "r", "node": "n", "clock_skew": 0.0, "path": "", "limits": NodeLimits(), **fields})


def kinds(found: Iterable[Found]) -> dict[str, Level]:
    return {one.finding.kind: one.finding.level for one in found}


def node(*, alive: bool = True) -> NodeInfo:
    return NodeInfo(name="n", pid=1, started=1.0, alive=alive)


def test_a_server_in_order_has_no_findings() -> None:
    assert kinds(odd_server(GOOD, groups=100, nodes=3)) == {}


@pytest.mark.parametrize(
    ("change", "kind", "level"),
    [
        ({"append_only": False}, "server_persistence", "fault"),
        ({"append_only": False, "snapshots": True}, "server_persistence", "note"),
        ({"last_write_ok": False}, "server_disk", "fault"),
        ({"used_memory": 95, "maxmemory": 100}, "server_memory", "fault"),
        ({"maxmemory_policy": None}, "server_policy", "note"),
        ({"maxclients": 200}, "server_connections", "fault"),
    ],
)
def test_what_is_wrong_with_a_server_is_told(change: dict[str, Any], kind: str, level: str) -> None:
    assert kinds(odd_server(GOOD.model_copy(update=change), groups=100, nodes=3)) == {kind: level}


def test_a_server_that_tells_nothing_makes_no_fault() -> None:
    assert set(kinds(odd_server(ServerFacts(), groups=1, nodes=1)).values()) == {"note"}


@pytest.mark.parametrize(("skew", "found"), [(0.9, 0), (-0.9, 0), (1.5, 1), (-70.0, 1)])
def test_a_clock_may_differ_by_a_second(skew: float, found: int) -> None:
    assert len(list(odd_clock("n", skew))) == found


@pytest.mark.parametrize(
    ("limit", "kind"),
    [({"open_files": 256}, "limit_files"), ({"processes": 200}, "limit_processes"), ({"pids_max": 200}, "limit_pids")],
)
def test_limits_too_low_for_the_promised_workers_are_told(limit: dict[str, int], kind: str) -> None:
    said = report(limits=NodeLimits(**limit))

    assert kinds(odd_limits(said, [pool(workers=100)])) == {kind: "fault"}
    assert kinds(odd_limits(said, [pool(workers=10)])) == {}


def test_ten_thousand_workers_need_limits_that_fit_them() -> None:
    many = [pool(workers=100) for _ in range(100)]

    assert kinds(odd_limits(report(limits=NodeLimits(pids_max=32_768)), many)) == {}
    assert kinds(odd_limits(report(limits=NodeLimits(pids_max=10_000)), many)) == {"limit_pids": "fault"}


def test_programs_of_worker_types_that_pools_use_are_looked_at() -> None:
    missing = ProgramReport(worker_type="terminal-qwen", program="qwen")
    stranger = ProgramReport(worker_type="terminal-claude", program="claude", path="/bin/claude", login=False)

    found = kinds(odd_nodes([node()], {"n": report(programs=(missing, stranger))}, [pool(worker_type="terminal-qwen")]))

    assert found == {"program_missing": "fault"}
    out = stranger.model_copy(update={"logged_out": "run 'claude'"})
    assert kinds(odd_nodes([node()], {"n": report(programs=(out,))}, [pool(worker_type="terminal-claude")])) == {
        "program_logged_out": "fault"
    }
    said = {"n": report(programs=(stranger,))}
    assert kinds(odd_nodes([node()], said, [pool(worker_type="terminal-claude")])) == {"program_login": "note"}


def test_a_container_engine_that_does_not_answer_is_a_fault_and_its_reason_is_shown(
    engine: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", engine.env["PATH"])
    assert look_at(BUILT_IN["container"]).problem is None
    engine.silence()

    found = look_at(BUILT_IN["container"])

    assert found.path == str(engine.bin / "docker")
    assert found.problem is not None
    assert "Cannot connect to the Docker daemon" in found.problem
    said = odd_nodes([node()], {"n": report(programs=(found,))}, [pool(worker_type="container")])
    assert kinds(said) == {"program_silent": "fault"}


def test_a_node_that_beats_and_does_not_answer_is_a_fault_and_a_lost_one_a_note() -> None:
    assert kinds(odd_nodes([node()], {}, [pool()])) == {"node_mute": "fault"}
    assert kinds(odd_nodes([node(alive=False)], {}, [])) == {"node_lost": "note"}
    assert kinds(odd_nodes([node(alive=False)], {}, [pool()])) == {"no_agent": "fault", "node_lost": "note"}


def test_this_machines_limits_can_be_read() -> None:
    found = limits()

    assert found.open_files is None or found.open_files > 0
    assert (found.pids_max is None) == (found.pids_now is None)


def test_a_login_is_seen_by_a_variable_or_a_file_and_never_by_its_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "auth.json"
    kind = WorkerType(name="x", argv=("sh",), login=("X_TOKEN", str(file)), ai=False)

    assert look_at(kind).login is False
    file.write_text("{}")
    assert look_at(kind).login_sign == str(file)
    monkeypatch.setenv("X_TOKEN", "very-secret")
    assert look_at(kind).login_sign == "X_TOKEN"
    assert "very-secret" not in look_at(kind).model_dump_json()


def test_a_program_that_hangs_or_fails_has_no_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.agent.self_report.VERSION_SECONDS", 0.2)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    for name, text in (("hangs", "exec sleep 30"), ("fails", "echo 1.2; exit 3"), ("silent", ":")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)

        found = look_at(WorkerType(name=name, argv=(name,)))

        assert found.path == str(tmp_path / name)
        assert found.version is None


def test_every_family_of_keys_is_recognised_with_its_owner() -> None:
    for key in KEYS:
        if key.pattern.endswith("{}") and key.kind not in ("-", "channel"):
            assert owner_of(key.pattern.replace("{}", "a:b")) == (key.name, "a:b")
    assert owner_of(f"pool.pool_1{names.PRIORITY_SEPARATOR}7") == ("queue", "pool_1")
    assert owner_of("mhv:registry") is None
    assert owner_of("something else") is None
