"""One pool on a Session-Buddy server: made, verified, made again when the server lost it, and given prompts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue

from mahavishnu_pools import errors
from mahavishnu_pools.mcp_client import McpClient, ToolAnswer

from .remote_answer import is_pool_gone, known_pools, trouble_of

logger = logging.getLogger(__name__)

#: What the server must offer.
NEEDED_TOOLS = ("create_pool", "execute_on_pool", "list_pools", "get_pool_status")

#: Seconds a call about the pool itself may take.
CALL_TIMEOUT = 10.0

#: Seconds that an answer may come later than the time-out the server was told.
ANSWER_MARGIN = 10.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the server is and how it is spoken to.

    ``ca_file`` holds the certificates that vouch for it (None: those of the system).
    """

    url: str
    token: str | None = field(default=None, repr=False)
    ca_file: str | None = None


class RemotePool:
    """The pool of one bridge on the server. Belongs to one event loop."""

    def __init__(self, endpoint: Endpoint, pool_id: str) -> None:
        self.pool_id = pool_id
        self.url = endpoint.url
        self._client = McpClient(endpoint.url, token=endpoint.token, ca_file=endpoint.ca_file)
        self._making = asyncio.Lock()
        #: True when the server answers in fields: it is one of ours, and a call that is cancelled ends there, too.
        self.structured = False
        #: True when the server runs a prompt once that is sent to it twice with the same task id.
        self.knows_tasks = False

    async def ensure(self) -> None:
        """Have the pool on the server.

        Raises:
            RemoteUnavailable, RemoteRefused: the server does not answer, or not as it should.
        """
        async with self._making:
            tools = await self._client.tools()
            missing = [name for name in NEEDED_TOOLS if name not in tools]
            if missing:
                raise errors.RemoteRefused(
                    f"The server at {self.url} has no tool {', '.join(missing)}, so it is no Session-Buddy with pools. "
                    "Start one with 'mahavishnu session-buddy', or correct the pool's endpoint.",
                    url=self.url,
                )
            self.knows_tasks = _knows_tasks(tools["execute_on_pool"])
            if self.pool_id in await self._listed():
                return
            # One kind of server always calls this a failure; only its list of pools tells.
            made = await self._call("create_pool", {"pool_id": self.pool_id})
            if self.pool_id not in await self._listed():
                raise errors.RemoteUnavailable(
                    f"The server at {self.url} did not create the pool {self.pool_id}: {made.text[:300]}", url=self.url
                )
            logger.info("Created pool %s on %s", self.pool_id, self.url, extra={"action": "create_remote_pool"})

    async def execute(self, prompt: str, *, context: Mapping[str, JsonValue], timeout: float) -> ToolAnswer:  # noqa: ASYNC109
        """Run a prompt; ``timeout`` (seconds) is the server's to keep. A pool it has lost is made anew first.

        Raises:
            RemoteUnavailable, RemoteRefused: see ``ensure``. Whether the prompt ran is then unknown.
        """
        arguments: dict[str, JsonValue] = {
            "pool_id": self.pool_id,
            "prompt": prompt,
            "context": dict(context),
            "timeout": timeout,
        }
        answer = await self._client.call("execute_on_pool", arguments, timeout=timeout + ANSWER_MARGIN)
        if not is_pool_gone(answer):
            return answer
        await self.ensure()
        return await self._client.call("execute_on_pool", arguments, timeout=timeout + ANSWER_MARGIN)

    async def trouble(self) -> str | None:
        """Ask the server for the pool's state and return what is wrong, None when it runs; a lost pool is made anew."""
        answer = await self._call("get_pool_status", {"pool_id": self.pool_id})
        if is_pool_gone(answer):
            await self.ensure()
            return None
        return trouble_of(answer)

    async def close(self) -> None:
        """End the connection; the pool stays on the server."""
        await self._client.close()

    async def delete(self) -> None:
        """Remove the pool from the server, if it has it."""
        await self._call("delete_pool", {"pool_id": self.pool_id})

    async def _listed(self) -> frozenset[str]:
        answer = await self._call("list_pools", {})
        self.structured = isinstance(answer.value, Mapping)
        return known_pools(answer)

    async def _call(self, tool: str, arguments: Mapping[str, JsonValue]) -> ToolAnswer:
        return await self._client.call(tool, arguments, timeout=CALL_TIMEOUT)


def _knows_tasks(schema: Mapping[str, Any]) -> bool:
    found: Any = schema
    for name in ("properties", "context", "properties", "task_id"):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found is not None
