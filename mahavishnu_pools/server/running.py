"""The server: its tools and pages, served over HTTP or to one client over standard input and output."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from mahavishnu_pools import errors
from mahavishnu_pools.mcp_serving import Service, serve, serve_stdio
from mahavishnu_pools.mcp_tools import Page, Tool
from mahavishnu_pools.server import texts
from mahavishnu_pools.server.approval_tools import ApprovalTools
from mahavishnu_pools.server.change_tools import ChangeTools
from mahavishnu_pools.server.contest_tools import ContestTools
from mahavishnu_pools.server.finding_tools import FindingTools
from mahavishnu_pools.server.instance_tools import InstanceTools
from mahavishnu_pools.server.keeping_tools import KeepingTools
from mahavishnu_pools.server.pool_tools import PoolTools
from mahavishnu_pools.server.pools import Pools
from mahavishnu_pools.server.schedule_tools import ScheduleTools
from mahavishnu_pools.server.task_tools import TaskTools
from mahavishnu_pools.server.waiting import Waiting

if TYPE_CHECKING:
    from pydantic import SecretStr

    from mahavishnu_pools.settings import Settings

#: Where the server listens when nothing else is said.
PORT = 8680

_INSTRUCTIONS = (
    "Runs AI prompts and commands on pools of workers. pool_list shows the pools, pool_execute runs a task on one, "
    "pool_route_execute on the one that fits best, pool_distribute splits a list over several. A call that takes too "
    "long returns the task's id: ask pool_task for it. What finished tasks did is found with pool_search_memory."
)


def tools(pools: Pools, waiting: Waiting) -> tuple[Tool, ...]:
    """Return all tools."""
    return (
        *PoolTools(pools).tools(),
        *TaskTools(pools, waiting).tools(),
        *ContestTools(pools, waiting).tools(),
        *FindingTools(pools, waiting).tools(),
        *KeepingTools(pools).tools(),
        *ScheduleTools(pools).tools(),
        *ApprovalTools(pools).tools(),
        *ChangeTools(pools).tools(),
        *InstanceTools(pools, waiting).tools(),
    )


async def run(
    settings: Settings,
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    tokens: Collection[str] = (),
    on_ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve over HTTP until SIGTERM or SIGINT; ``on_ready`` gets the URL of the tools once it answers.

    Tasks go on when the server ends. A stack that is not there, or is lost, is an error of each call, not of this.

    Raises:
        InvalidField: the address cannot be used, or is not loopback and there is no token.
        Unavailable: a package is missing.
    """
    async with _service(settings) as (service, pools):
        pages = _pages(pools, tokens_of(settings.metrics_token))
        routes = _live(pools, service.stopping, guarded=bool(tokens))
        served = replace(service, tokens=tokens, pages=pages, routes=routes, free=("/",), streams=True)
        await serve(served, host=host, port=port, on_ready=on_ready)


async def run_stdio(settings: Settings) -> None:
    """Serve one client over standard input and output until the input ends, SIGTERM or SIGINT.

    Raises:
        Unavailable: a package is missing.
    """
    async with _service(settings) as (service, _):
        await serve_stdio(service)


def tokens_of(configured: SecretStr | None) -> tuple[str, ...]:
    """Return the tokens of a setting: ``new,old`` has two, so that one can be changed while the other still counts."""
    given = "" if configured is None else configured.get_secret_value()
    return tuple(token.strip() for token in given.split(",") if token.strip())


@asynccontextmanager
async def _service(settings: Settings) -> AsyncIterator[tuple[Service, Pools]]:
    stopping = asyncio.Event()
    pools, waiting = Pools(settings), Waiting(stopping)
    service = Service(
        "mahavishnu",
        version=version("mahavishnu-pools"),
        tools=tools(pools, waiting),
        instructions=_INSTRUCTIONS,
        stopping=stopping,
        reword=texts.reworded,
    )
    try:
        yield service, pools
    finally:
        await waiting.close()
        await pools.close()


def _live(pools: Pools, stopping: asyncio.Event, *, guarded: bool) -> Callable[[], Sequence[Any]]:
    def routes() -> Sequence[Any]:
        from mahavishnu_pools.server.live.hub import Hub
        from mahavishnu_pools.server.live.routes import Live

        return Live(pools, Hub(stopping), guarded=guarded).routes()

    return routes


def _pages(pools: Pools, read_tokens: tuple[str, ...]) -> dict[str, Page]:
    async def ready() -> tuple[int, str, bytes]:
        reason = await pools.why_not_ready()
        told = {"status": "ready"} if reason is None else {"status": "not ready", "reason": reason}
        return 200 if reason is None else 503, "application/json", json.dumps(told).encode()

    async def metrics() -> tuple[int, str, bytes]:
        from mahavishnu_pools.metrics.exporter import CONTENT_TYPE, exposition

        try:
            store = await (await pools.manager()).memory_store()
        except errors.MahavishnuError as exc:
            return 503, "text/plain; charset=utf-8", f"{exc.message}\n".encode()
        return 200, CONTENT_TYPE, await exposition(store)

    return {"/ready": Page(ready), "/metrics": Page(metrics, tokens=read_tokens)}
