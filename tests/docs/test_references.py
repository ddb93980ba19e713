"""What the documents say of commands, settings and keys is what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from mahavishnu_pools.cli.exit_codes import ExitCode
from mahavishnu_pools.cli.main import mahavishnu
from mahavishnu_pools.cli.session import Session
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.routing.measured import BUILT_IN as STRATEGIES
from mahavishnu_pools.schemas.pool import DistributionStrategy, PoolConfig, PoolSelector
from mahavishnu_pools.settings import Settings
from mahavishnu_pools.worker_types import BUILT_IN, WorkerType
from tests.docs import blocks, reference

LINES = [
    pytest.param(arguments, id=f"{block.document}: {' '.join(arguments)[:60]}")
    for block in blocks.blocks()
    if block.language in blocks.SHELL
    for arguments in blocks.command_lines(block.text)
]
INLINE = [
    pytest.param(arguments, id=f"{path.name}: {' '.join(arguments)[:60]}")
    for path in blocks.documents()
    for code in re.findall(r"`((?:mahavishnu|pools) [a-z-][^`]+)`", path.read_text(encoding="utf-8"))
    if path.name != "cli.md"
    for arguments in blocks.command_lines(code if code.startswith("mahavishnu") else f"mahavishnu {code}")
]


def parse(arguments: list[str]) -> None:
    """Parse a command line down to its command, as the program does, without running it."""
    command: click.Command = mahavishnu
    context = click.Context(mahavishnu, info_name="mahavishnu", obj=Session())
    rest = list(arguments)
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command = found
        context = click.Context(command, info_name=name, parent=context)
    command.make_context(name, rest, parent=context.parent)


def test_the_lines_that_help_shows_of_commands_are_those_of_the_commands() -> None:
    assert reference.SUMMARIES.read_text(encoding="utf-8") == reference.summaries()


@pytest.mark.parametrize("arguments", LINES)
def test_every_command_line_in_a_block_parses(arguments: list[str]) -> None:
    parse(arguments)


@pytest.mark.parametrize("arguments", INLINE)
def test_every_command_in_the_text_exists(arguments: list[str]) -> None:
    command: click.Command | None = mahavishnu
    rest = list(arguments)
    while isinstance(command, click.Group) and rest:
        command = command.get_command(click.Context(command), rest.pop(0))
    assert command is not None
    options = {name for one in command.params for name in (*one.opts, *one.secondary_opts)} | {"--help"}
    rest = rest[: rest.index("--")] if "--" in rest else rest
    assert [word for word in rest if word.startswith("--") and word.split("=")[0] not in options] == []


@pytest.mark.parametrize("document", blocks.documents(), ids=blocks.name_of)
def test_every_verb_of_a_manager_in_the_text_exists(document: Path) -> None:
    # Blocks are run; what stands between them is not.
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    verbs = re.findall(r"\b(?:manager|pool_mgr)\.(\w+)", " ".join(re.findall(r"`[^`\n]+`", text)))

    attributes = ("message_bus", "_pools", "py")
    assert [verb for verb in verbs if verb not in attributes and not hasattr(PoolManager, verb)] == []


def test_a_command_line_that_is_wrong_is_noticed() -> None:
    [arguments] = blocks.command_lines("echo a | mahavishnu pools spawn --nonsense 3 && true")

    with pytest.raises(click.UsageError, match="nonsense"):
        parse(arguments)


@pytest.mark.parametrize("name", reference.PARTS)
def test_a_generated_part_is_what_the_code_says(name: str) -> None:
    written = reference.generated(reference.DOCS / name)

    assert written == reference.PARTS[name]().strip(), "run: .venv/bin/python -m tests.docs.reference"


def rows(document: str, section: str = "") -> dict[str, list[str]]:
    """Return the rows of the tables (of a section, else of all) that begin with code: the code, and the other cells."""
    text = (reference.DOCS / document).read_text(encoding="utf-8")
    if section:
        text = text.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^\| `([^`|]+)`(?: \([^|]*\))? \|(.*)\|$", text, re.MULTILINE)
    return {name: [cell.strip() for cell in rest.split(" | ")] for name, rest in found}


def test_every_setting_is_documented_with_its_default() -> None:
    documented = rows("configuration.md")

    assert set(documented) == set(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        shown = documented[name][0].strip("`")
        if name != "data_dir":
            assert shown == written(field.default), name


def written(default: object) -> str:
    special = {"None": "–", "()": "none", "": "empty", "True": "true", "False": "false"}
    return special.get(str(default), str(default))


def test_every_field_of_a_pool_is_documented() -> None:
    text = (reference.DOCS / "pools-and-worker-types.md").read_text(encoding="utf-8")

    assert [name for name in PoolConfig.model_fields if f"`{name}`" not in text] == []


def test_every_worker_type_and_its_fields_are_documented() -> None:
    documented = rows("pools-and-worker-types.md", "Worker types")
    fields = rows("extending.md", "A worker type")

    for name, worker_type in BUILT_IN.items():
        assert documented[name][0].strip("`").startswith(worker_type.needs)
        assert documented[name][1] == ("standard input" if worker_type.prompt_via == "stdin" else "one argument")
        assert ("experimental" in " ".join(documented[name])) == worker_type.experimental
    assert {name for name in WorkerType.model_fields if name != "name"} <= set(fields)


def test_every_strategy_is_documented() -> None:
    documented = set(rows("routing-and-distribution.md"))

    assert documented == {one.value for one in (*PoolSelector, *DistributionStrategy)} | set(STRATEGIES)


def test_every_exit_code_is_documented() -> None:
    text = (reference.DOCS / "cli.md").read_text(encoding="utf-8")
    section = text.partition("## Exit codes")[2].partition("\n## ")[0]

    assert {int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)} == {
        int(code) for code in ExitCode
    }


def test_no_figure_stands_in_the_readme_that_no_run_printed() -> None:
    measured = (reference.DOCS / "measurements.md").read_text(encoding="utf-8")
    table = (
        (Path(blocks.ROOT) / "README.md").read_text(encoding="utf-8").partition("`make bench`")[2].partition("\n## ")[0]
    )
    figures = re.findall(r"^\| [^|]+ \| ([\d.,]+) ", table, re.MULTILINE)

    assert figures
    assert [figure for figure in figures if figure not in measured] == []
