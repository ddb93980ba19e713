"""Sends requests to the API of a cluster: with deadlines, repeats where something passes, and errors that say why."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self

from mahavishnu_pools import errors
from mahavishnu_pools.kube.connection import Login, log_in
from mahavishnu_pools.kube.objects import Manifest
from mahavishnu_pools.kube.refusals import Answer, Place, refused, unreachable
from mahavishnu_pools.schemas.kubernetes import KubernetesConfig

logger = logging.getLogger(__name__)

#: Seconds one try of a call may take, and all its tries together.
TRY_TIMEOUT, CALL_TIMEOUT = 10.0, 30.0

#: Seconds before the second try, and the most there are between two; in between they double.
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0

#: Seconds the beginning of a stream may take.
STREAM_TIMEOUT = 15.0

#: Calls under way at once; streams do not count.
CALLS_AT_ONCE = 32


class _Again(Exception):
    """A try failed in a way that passes."""

    def __init__(self, error: errors.MahavishnuError, after: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.after = after


class Transport:
    """The connections to one cluster, for use in ``async with``; it lives in one event loop."""

    def __init__(self, config: KubernetesConfig, *, patience: float = CALL_TIMEOUT) -> None:
        self._config = config
        self._patience = patience
        self._calls = asyncio.Semaphore(CALLS_AT_ONCE)
        self._logging_in = asyncio.Lock()
        self._login: Login
        self.place: Place
        self.namespace = config.namespace

    async def __aenter__(self) -> Self:
        """Read the configuration; nothing is sent.

        Raises:
            ClusterUnavailable, InvalidField: see ``log_in``.
        """
        self._login, self.place = await log_in(self._config)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._login.retire(at_once=True)

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content: str = "application/json",
    ) -> Manifest:
        """Send a request and return the object that is the answer.

        It is repeated after faults that pass, so it must be harmless to repeat: objects are made with a fixed name.
        """
        import tenacity

        usual = tenacity.wait_exponential_jitter(multiplier=FIRST_PAUSE, max=LONGEST_PAUSE, jitter=FIRST_PAUSE)

        def pause(state: tenacity.RetryCallState) -> float:
            failure = state.outcome.exception() if state.outcome else None
            after = failure.after if isinstance(failure, _Again) else None
            return max(usual(state), min(after or 0.0, self._patience))

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(_Again),
            stop=tenacity.stop_after_delay(self._patience),
            wait=pause,
            reraise=True,
        )
        try:
            async for attempt in retrying:
                with attempt:
                    async with self._calls:
                        return await self._try(method, path, query=query, body=body, content=content)
        except _Again as exc:
            raise exc.error from exc
        raise AssertionError("tenacity returns or raises")

    async def _try(self, method: str, path: str, **sent: Any) -> Manifest:
        import aiohttp

        try:
            async with asyncio.timeout(TRY_TIMEOUT), self._response(method, path, **sent) as response:
                text = await response.text("utf-8", "replace")
                if response.status < 300:
                    found = json.loads(text)
                    return found if isinstance(found, dict) else {}
                answer = Answer.of(response.status, text, response.headers)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
            raise _Again(unreachable(self.place, _cause(exc))) from exc
        error = refused(answer, self.place)
        if answer.passes or (method == "PATCH" and answer.reason == "Conflict"):
            raise _Again(error, answer.after)
        raise error

    @asynccontextmanager
    async def stream(self, path: str, *, query: Mapping[str, str], idle: float | None = None) -> AsyncIterator[Any]:
        """Give the body of an answer that goes on for long, as an asynchronous iterator of bytes; it is tried once.

        ``idle`` is how many seconds may pass without anything (None: any number).

        Raises:
            ClusterUnavailable, ClusterRefused: as for calls, also while it is read.
        """
        import aiohttp

        limits = aiohttp.ClientTimeout(total=None, sock_connect=STREAM_TIMEOUT, sock_read=idle)
        try:
            async with self._response("GET", path, query=query, limits=limits) as response:
                if response.status >= 300:
                    answer = Answer.of(response.status, await response.text("utf-8", "replace"), response.headers)
                    raise refused(answer, self.place)
                yield response.content.iter_any()
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            raise unreachable(self.place, _cause(exc)) from exc

    @asynccontextmanager
    async def _response(
        self, method: str, path: str, *, query: Any = None, body: Any = None, content: str = "", limits: Any = None
    ) -> AsyncIterator[Any]:
        headers = {"Accept": "application/json", **({"Content-Type": content} if body is not None else {})}
        for again in (True, False):
            async with self._login.used() as login:
                pairs = list((query or {}).items())
                sent = await login.api.param_serialize(
                    *(method, path),
                    query_params=pairs,
                    header_params=dict(headers),
                    body=body,
                    auth_settings=["BearerToken"],
                )
                response = (await login.api.call_api(*sent, _request_timeout=limits or TRY_TIMEOUT)).response
                try:
                    if response.status == 401 and again and await self._logged_in_again(login):
                        continue
                    yield response
                    return
                finally:
                    # Closed, not kept: what was not read to its end cannot be used again.
                    response.close() if not response.content.at_eof() else response.release()

    async def _logged_in_again(self, refused: Login) -> bool:
        """Read the credentials again, which may have been renewed; False when they are the same."""
        async with self._logging_in:
            if self._login is not refused:
                return True  # another request was faster
            try:
                fresh, _ = await log_in(self._config)
            except errors.MahavishnuError as exc:
                logger.warning("Credentials cannot be read again: %s", exc, extra={"action": "log_in"})
                return False
            if fresh.fingerprint == refused.fingerprint:
                await fresh.retire()
                return False
            self._login = fresh
            await refused.retire()
            return True


def _cause(exc: BaseException) -> str:
    return str(exc) or type(exc).__name__
