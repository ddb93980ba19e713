"""Runs all blocks of a directory of documents and reports on each of their examples."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import subprocess
import traceback
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mahavishnu_pools.settings import load_settings
from tests.acceptance.seeds.blocks import Block, Line, blocks_of, lines_of
from tests.acceptance.seeds.python_runs import Names, run_block
from tests.acceptance.seeds.serving import Server, tool_caller
from tests.acceptance.seeds.shell_lines import Facts, Runnable, names_made, reason_not_to_run, runnable
from tests.acceptance.seeds.terminal import watch_for_a_while
from tests.acceptance.seeds.world import World, world

#: Seconds a command may run.
MOST_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Report:
    """How one example went; ``outcome`` is passed, failed or cannot run."""

    place: str
    title: str
    outcome: str
    reason: str = ""


Say = Callable[[Report], None]


async def run_all(directory: Path, base: Path, *, only: str, say: Say) -> list[Report]:
    """Run what holds the text ``only`` and return the reports in the order of the documents."""
    reports: list[Report] = []
    async with world(base) as here, tool_caller() as server:
        async for report in _reports(list(blocks_of(directory)), here, only=only, server=server):
            reports.append(report)
            say(report)
    return reports


async def _reports(blocks: list[Block], here: World, *, only: str, server: Server) -> AsyncIterator[Report]:
    variables: dict[str, str] = {}
    for block in blocks:
        if block.language == "bash":
            for line in lines_of(block):
                if only in line.text:
                    yield await _shell(line, here, variables)
        elif only in block.text and block.language in ("python", "yaml", "json"):
            run = {"python": _python, "yaml": _yaml, "json": _json}[block.language]
            yield await run(block, here, server)


async def _shell(line: Line, here: World, variables: dict[str, str]) -> Report:
    def report(outcome: str, reason: str = "") -> Report:
        return Report(line.place, line.text, outcome, reason)

    reason = reason_not_to_run(line)
    if reason is not None:
        return report("cannot run", reason)
    pool_id, task_id = await here.reset(without=names_made(line), cluster="--pool-filter kubernetes" in line.text)
    if "delete_pool" not in line.text and "create_pool" not in line.text and "mcp call" in line.text:
        await asyncio.to_thread(_mcp_pool, here)
    facts = Facts(pool_id, task_id, here.session_buddy_port, here.akosha_port)
    what = runnable(line, facts)
    if line.text.startswith("export "):
        name, _, value = line.text.removeprefix("export ").partition("=")
        variables[name] = value if "URL" not in name else os.environ[name]
    problem = await asyncio.to_thread(_run, what, variables)
    return report("failed", problem) if problem else report("passed")


def _mcp_pool(here: World) -> None:
    url = f"http://localhost:{here.session_buddy_port}/mcp"
    command = ["mahavishnu", "mcp", "call", url, "create_pool", "--pool_id", "my_pool"]
    subprocess.run(command, capture_output=True, check=False, timeout=60)


def _run(what: Runnable, variables: dict[str, str]) -> str:
    """Run a command and return what is wrong, nothing when it went as it should."""
    environment = {**os.environ, **variables}
    if what.watched:
        return watch_for_a_while(what.command, environment)
    done = subprocess.run(
        ["bash", "-c", what.command],
        env=environment,
        input="\n".join([*what.typed, ""]),
        capture_output=True,
        text=True,
        timeout=MOST_SECONDS,
        check=False,
    )
    said = (done.stderr.strip() or done.stdout.strip())[-400:]
    if done.returncode != what.exit_code:
        return f"exit code {done.returncode} instead of {what.exit_code}: {said}"
    if "Traceback" in done.stderr or (what.typed and "Error" in done.stderr):
        return said
    return ""


async def _python(block: Block, here: World, server: Server) -> Report:
    title = next(line for line in block.text.splitlines() if line.strip())
    await here.clear()
    names = Names(call_tool=server.call)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            await _closing(names, run_block(block.text, names, directory=here.directory / "repo"))
    except LookupError as exc:
        return Report(block.place, title, "failed", str(exc))
    except Exception:
        return Report(block.place, title, "failed", traceback.format_exc(limit=-3).strip()[-600:])
    return Report(block.place, title, "passed")


async def _closing(names: Names, work: Awaitable[None]) -> None:
    try:
        await work
    finally:
        await names.close()


async def _yaml(block: Block, here: World, server: Server) -> Report:
    title = next(line for line in block.text.splitlines() if line.strip())
    content: dict[str, Any] = yaml.safe_load(block.text)
    if "scrape_configs" in content:
        jobs = content["scrape_configs"]
        good = jobs[0]["static_configs"][0]["targets"] == ["localhost:8680"] and jobs[0]["metrics_path"] == "/metrics"
        return Report(block.place, title, "passed" if good else "failed")
    path = here.directory / "printed.yaml"
    path.write_text(block.text)
    with warnings.catch_warnings(record=True) as told, _environment(MAHAVISHNU_SETTINGS_FILE=str(path)):
        warnings.simplefilter("always")
        load_settings()
    problems = "; ".join(str(one.message) for one in told)
    return Report(block.place, title, "failed" if problems else "passed", problems)


async def _json(block: Block, here: World, server: Server) -> Report:
    """What `list --format json` prints has at least the names the document shows."""
    await here.reset(without=set())
    done = await asyncio.to_thread(
        subprocess.run, ["mahavishnu", "pools", "list", "--format", "json"], capture_output=True, text=True, timeout=60
    )
    shown, printed = json.loads(block.text), json.loads(done.stdout)
    missing = set(shown["pools"][0]) - set(printed["pools"][0])
    return Report(block.place, block.text.split("\n", 1)[0], "failed" if missing else "passed", ", ".join(missing))


@contextlib.contextmanager
def _environment(**values: str) -> Any:
    before = {name: os.environ.get(name) for name in values}
    os.environ |= values
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
