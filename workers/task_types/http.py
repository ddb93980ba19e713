"""Task type ``http``: one request; 2xx is success."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import JsonValue

from mahavishnu_pools.schemas.task import Outcome
from mahavishnu_pools.task_types import HttpPayload, task_type

from ..executors.capture import cut_text
from ..executors.environment import build_environment
from ..executors.interface import Refused, Retryable, RunContext

if TYPE_CHECKING:
    import httpx

#: Requests that may be sent twice: the same again has the same effect.
_REPEATABLE = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})

#: Answers that ask for another attempt later.
_RETRYABLE: dict[int, Retryable] = {429: "rate_limit", 503: "overload"}

#: Headers of the answer that are kept in the value.
_KEPT_HEADERS = ("content-type", "content-length", "etag", "last-modified", "location", "retry-after")


@task_type("http", payload=HttpPayload, mode="call")
async def http(payload: HttpPayload, context: RunContext) -> Outcome:
    """Send the request and return the answer: text as output, status, headers and JSON as value.

    Raises:
        Refused: a secret a header names is not among the task's.
    """
    import httpx

    environment = build_environment(context)
    masker = environment.masker
    try:
        response, body, cut = await _send(payload, secrets=environment.secrets)
    except httpx.TimeoutException as exc:
        return Outcome(
            status="failed",
            error=f"{payload.url} did not answer in time ({type(exc).__name__}).",
            retryable="connection" if payload.method in _REPEATABLE or isinstance(exc, httpx.ConnectTimeout) else None,
        )
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.TooManyRedirects) as exc:
        return Outcome(status="failed", error=masker.text(f"The request to {payload.url} cannot be made: {exc}."))
    except httpx.TransportError as exc:
        repeatable = payload.method in _REPEATABLE or isinstance(exc, httpx.ConnectError)
        error = masker.text(f"{payload.url} cannot be reached: {str(exc) or type(exc).__name__}.")
        return Outcome(status="failed", error=error, retryable="connection" if repeatable else None)
    text = cut_text(
        masker.text(body.decode(response.encoding or "utf-8", "replace")), limit=context.limits.max_output_bytes
    )
    return _outcome(
        response, text, value=masker.json(_value(response, body, cut=cut, limit=context.limits.max_value_bytes))
    )


async def _send(payload: HttpPayload, *, secrets: Mapping[str, str]) -> tuple[httpx.Response, bytes, bool]:
    import httpx

    # Without a timeout of its own the request may take as long as the task, which the worker ends.
    content = payload.body.encode() if payload.body is not None else None
    async with (
        httpx.AsyncClient(timeout=payload.timeout, follow_redirects=True, trust_env=False) as client,
        client.stream(
            payload.method,
            payload.url,
            headers={name: _filled(value, secrets=secrets) for name, value in payload.headers.items()},
            json=payload.json_body,
            content=content,
        ) as response,
    ):
        body = bytearray()
        async for piece in response.aiter_bytes():
            body += piece
            if len(body) > payload.max_bytes:
                return response, bytes(body[: payload.max_bytes]), True
        return response, bytes(body), False


def _filled(header: str, *, secrets: Mapping[str, str]) -> str:
    try:
        return string.Template(header).substitute(secrets) if "${" in header else header
    except (KeyError, ValueError) as exc:
        raise Refused(f"payload.headers: {exc} is no secret of this task. Name it in secrets.") from exc


def _value(response: httpx.Response, body: bytes, *, cut: bool, limit: int) -> JsonValue:
    headers: dict[str, JsonValue] = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    value: dict[str, JsonValue] = {"status": response.status_code, "url": str(response.url), "headers": headers}
    if cut:
        value["body_cut_at"] = len(body)
    elif "json" in response.headers.get("content-type", "") and len(body) <= limit // 2:
        try:
            value["json"] = json.loads(body, parse_constant=lambda _: None)
        except (ValueError, RecursionError):
            value["json"] = None
    return value


def _outcome(response: httpx.Response, text: str, *, value: JsonValue) -> Outcome:
    if response.is_success:
        return Outcome(status="completed", output=text, value=value)
    metadata: dict[str, JsonValue] = {}
    wait = response.headers.get("retry-after", "")
    if wait.isdigit():
        metadata["retry_after_seconds"] = int(wait)
    error = f"The server answered {response.status_code} {response.reason_phrase}".rstrip() + "."
    return Outcome(
        status="failed",
        output=text,
        value=value,
        error=error,
        retryable=_RETRYABLE.get(response.status_code),
        metadata=metadata,
    )
