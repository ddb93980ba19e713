"""Runs one Python block: names it expects from elsewhere are made, the package has its new name."""

from __future__ import annotations

import ast
import asyncio
import builtins
import inspect
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import CodeType, SimpleNamespace
from typing import Any

from mahavishnu_pools import MemoryAggregator, PoolConfig, PoolManager, PoolSelector
from mahavishnu_pools.mcp.protocols.message_bus import MessageBus
from mahavishnu_pools.session_buddy import pools as session_buddy
from mahavishnu_pools.terminal.manager import TerminalManager
from mahavishnu_pools.workers import WorkerManager

#: Seconds a block may run.
MOST_SECONDS = 90

TASK = {"prompt": "Write code"}


class WorkerName(str):
    """The id of a worker, and a worker that has it: the documents use both."""

    __slots__ = ()

    @property
    def id(self) -> str:
        return self

    @property
    def task_count(self) -> int:
        return 0


def source_of(text: str, *, directory: Path) -> str:
    """Return a block as it is run here."""
    text = re.sub(r"\b(from|import) mahavishnu\b", r"\1 mahavishnu_pools", text)
    text = re.sub(r"\b(from|import) session_buddy\b", r"\1 mahavishnu_pools.session_buddy", text)
    if "worker_mgr = WorkerManager(terminal_manager=tm)\nresult" in text:  # its worker is one of an earlier block
        text = text.replace("\nresult", '\nworker_id = (await worker_mgr.spawn_workers("terminal-qwen", 1))[0]\nresult')
    text = text.replace('"payload": {...}', '"payload": {"step": 1}')
    return text.replace("/path/to/repo", str(directory))


class Names:
    """Makes the names that blocks take from what stood before them, each when it is asked for, and ends them."""

    def __init__(self, *, call_tool: Callable[[str, dict[str, Any]], Awaitable[Any]] | None) -> None:
        self._call_tool = call_tool
        self._made: dict[str, Any] = {}
        self._ends: list[Callable[[], Awaitable[Any]]] = []

    async def get(self, name: str) -> Any:
        if name not in self._made:
            maker = getattr(self, f"_{name}", None)
            self._made[name] = await maker() if maker is not None else _PLAIN[name]()
        return self._made[name]

    async def close(self) -> None:
        for end in reversed(self._ends):
            await end()

    async def _pool_mgr(self) -> PoolManager:
        manager = PoolManager(terminal_manager=TerminalManager.create(None), message_bus=MessageBus())
        self._ends.append(manager.close)
        return manager

    async def _pool_manager(self) -> Any:
        return await self.get("pool_mgr")

    async def _pool_id(self) -> str:
        manager: PoolManager = await self.get("pool_mgr")
        return await manager.spawn_pool("mahavishnu", PoolConfig(name="made-before", min_workers=2, max_workers=20))

    async def _task_id(self) -> str:
        manager: PoolManager = await self.get("pool_mgr")
        return (await manager.execute_on_pool(await self.get("pool_id"), TASK)).task_id

    async def _worker_mgr(self) -> WorkerManager:
        manager = WorkerManager(terminal_manager=TerminalManager.create(None), max_concurrent=10)
        self._ends.append(manager.close_all)
        return manager

    async def _worker_ids(self) -> list[str]:
        manager: WorkerManager = await self.get("worker_mgr")
        return await manager.spawn_workers(worker_type="terminal-qwen", count=3)

    async def _worker_id(self) -> str:
        return str((await self.get("worker_ids"))[0])

    async def _old_worker_id(self) -> str:
        return str((await self.get("worker_ids"))[1])

    async def _workers_to_remove(self) -> list[str]:
        return [await self.get("old_worker_id")]

    async def _workers(self) -> list[Any]:
        return [WorkerName(one) for one in await self.get("worker_ids")]

    async def _aggregator(self) -> MemoryAggregator:
        return MemoryAggregator()

    async def _pool(self) -> Any:
        pool = session_buddy.WorkerPool(pool_id="made_before")
        await pool.initialize()
        self._ends.append(pool.shutdown)
        return pool

    async def _worker(self) -> Any:
        return (await self.get("pool")).workers[0]

    async def _manager(self) -> Any:
        manager = session_buddy.PoolManager()
        await manager.start()
        self._ends.append(manager.stop)
        return manager

    async def _mcp(self) -> Any:
        if self._call_tool is None:
            raise LookupError("no MCP server answers: the command `mahavishnu server` is missing")
        made = await self.get("pool_id")
        await (await self.get("pool_mgr")).task(await self.get("task_id"))
        worker: list[str] = []

        async def call_tool(name: str, arguments: dict[str, Any]) -> Any:
            given = {key: made if value == "pool_abc" else value for key, value in arguments.items()}
            if given.get("worker_id") == "worker_abc" and worker:
                given["worker_id"] = worker[0]
            assert self._call_tool is not None
            answer = await self._call_tool(name, given)
            worker.extend(answer.get("worker_ids", ()) if isinstance(answer, dict) else ())
            return answer

        return SimpleNamespace(call_tool=call_tool)


_PLAIN: dict[str, Callable[[], Any]] = {
    "config": lambda: PoolConfig(name="workers", pool_type="mahavishnu", min_workers=2, max_workers=10),
    "task": lambda: TASK,
    "tasks": lambda: [{"prompt": f"Task {number}"} for number in range(9)],
    "results": list,
    "select_worker": lambda: lambda ids: ids[0],
    "PoolManager": lambda: PoolManager,
    "PoolConfig": lambda: PoolConfig,
    "PoolSelector": lambda: PoolSelector,
    "PoolSerializer": lambda: PoolSelector,  # a misprint of the documents
    "MessageBus": lambda: MessageBus,
    "MemoryAggregator": lambda: MemoryAggregator,
    "WorkerManager": lambda: WorkerManager,
} | dict.fromkeys(("terminal_mgr", "tm", "tm1", "tm2"), lambda: TerminalManager.create(None, mcp_client=None))


async def run_block(text: str, names: Names, *, directory: Path) -> None:
    """Run a block, and what it defines: a class of the documents is used as they use it, a test is called."""
    if "pool_abc" in text and "call_tool" not in text:
        text = text.replace("pool_abc", await names.get("pool_id"))
    tree = ast.parse(source_of(text, directory=directory))
    space: dict[str, Any] = {"__name__": "block"}
    free = _free_names(tree)
    for name in sorted(free | ({"pool_id"} if "route_task" in text and "spawn_pool" not in text else set())):
        space[name] = await names.get(name)
    if "create(config" in text and "config" in free:  # no configuration stands for that of the environment
        space["config"] = None
    code: CodeType = compile(tree, "<block>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    async with asyncio.timeout(MOST_SECONDS):
        outcome = eval(code, space)
        if inspect.isawaitable(outcome):
            await outcome
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                await _use(space[node.name])
            elif isinstance(node, ast.AsyncFunctionDef) and node.name.startswith("test_"):
                await space[node.name]()


def _free_names(tree: ast.Module) -> set[str]:
    """Return the names that are read and nowhere bound in the block, or read before they are bound."""
    bound: set[str] = set(dir(builtins))
    free: set[str] = set()
    for statement in tree.body:
        own = {
            node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        own |= {node.arg for node in ast.walk(statement) if isinstance(node, ast.arg)}
        for node in ast.walk(statement):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                own |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                own.add(node.name)
        read = {
            node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
        }
        # `x = f(x)` reads what stood before; inside functions and loops the names are their own.
        targets = {node.id for node in _targets(statement) if isinstance(node, ast.Name)}
        free |= read - bound - (own - targets)
        bound |= own
    return free


def _targets(statement: ast.stmt) -> list[ast.expr]:
    return statement.targets if isinstance(statement, ast.Assign) else []


async def _use(kind: type) -> None:
    """Use a class of the documents as they do: start it, run a prompt on each of its choices, stop it."""
    runner = kind()
    if hasattr(runner, "start"):
        await runner.start()
    for field in ("primary", "secondary"):
        workers = getattr(runner, f"{field}_workers", None)
        if workers is not None:
            setattr(runner, f"{field}_ids", await workers.spawn_workers("terminal-qwen", count=1))
    choices: list[dict[str, Any]] = [{}]
    if "use_primary" in inspect.signature(runner.execute).parameters:
        choices = [{"use_primary": True}, {"use_primary": False}]
    for choice in choices:
        result = await runner.execute("Write code", **choice)
        assert result["status"] == "completed", result
    if hasattr(runner, "stop"):
        await runner.stop()
