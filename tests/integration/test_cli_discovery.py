"""``pools discover`` on a real stack: what is found where, and what becomes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mahavishnu_pools import bootstrap
from mahavishnu_pools.settings import Settings
from tests.fixtures.command_line import Cli

PROJECT = """
[tool.mahavishnu.pools.{name}]
min_workers = 2
worker_type = "shell"
"""

KUBECONFIG = """
contexts:
  - name: kind-test
    context: {cluster: kind, user: me}
"""


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))


def found(cli: Cli, *options: str, code: int = 0) -> dict[str, Any]:
    return {row["name"]: row for row in cli.json("pools", "discover", *options, code=code)["discovered"]}


def test_an_ecosystem_is_found_and_made(cli: Cli, tmp_path: Path) -> None:
    name = f"eco-{tmp_path.name[-12:]}".replace("_", "-")
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "pyproject.toml").write_text(PROJECT.format(name=f"{name}-in-repo"))
    (tmp_path / "ecosystem.yaml").write_text(
        f"repositories: [repo, {{path: no-such-repo}}]\n"
        f"pools: [{{name: {name}, type: mahavishnu, worker_type: shell}}, {{name: {name}-bad, min_wrkers: 3}}]\n"
        "servers: ['http://127.0.0.1:1/mcp']\n"
    )

    before = found(cli, "--from-ecosystem")
    made = found(cli, "--from-ecosystem", "--auto-register", code=1)
    after = found(cli, "--file", "ecosystem.yaml")

    assert (before[name]["status"], made[name]["status"], after[name]["status"]) == ("found", "registered", "known")
    assert after[name]["pool_id"] == made[name]["pool_id"] is not None
    assert made[f"{name}-in-repo"]["config"]["allowed_roots"] == [str(tmp_path / "repo")]
    assert cli.json("pools", "get", f"{name}-in-repo")["workers"] == 2
    assert made[f"{name}-bad"]["status"] == "refused"
    assert "Did you mean 'min_workers'?" in made[f"{name}-bad"]["reason"]
    assert made["no-such-repo"]["reason"] == "there is no such directory"
    assert made["session-buddy-127-0-0-1-1"]["status"] == "unreachable"


def test_the_server_of_the_stack_is_looked_for_where_the_stack_has_it(
    cli: Cli, pool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_stack(settings: Settings, *_: object, **__: object) -> Settings:
        return settings.model_copy(update={"session_buddy_pool_url": "http://127.0.0.1:2/mcp"})

    monkeypatch.setattr(bootstrap, "on_stack", on_stack)

    assert found(cli)["session-buddy-127-0-0-1-2"]["status"] == "unreachable"


def test_this_repository_and_contexts_are_found_without_an_ecosystem(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT.format(name="mine"))
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)

    seen = found(cli)

    assert (seen["mine"]["status"], seen["mine"]["config"]["min_workers"]) == ("found", 2)
    assert seen["kubernetes-kind-test"]["pool_type"] == "kubernetes"
    assert "kind-test" in str(seen["kubernetes-kind-test"]["config"])


def test_what_cannot_be_read_is_refused_with_its_place(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "ecosystem.yaml").write_text("repositorys: []\n")

    unknown = cli.json("pools", "discover", "--from-ecosystem", code=2)["error"]
    missing = cli.json("pools", "discover", "--file", "nowhere.yaml", code=2)["error"]

    assert "ecosystem.yaml: unknown key 'repositorys'. Did you mean 'repositories'?" in unknown["message"]
    assert missing["message"].startswith("--file: there is no file nowhere.yaml")


def test_without_an_ecosystem_file_the_rest_is_looked_at_and_that_is_said(cli: Cli) -> None:
    cli("pools", "discover", "--from-ecosystem")

    assert "There is no ecosystem.yaml here" in cli.err
