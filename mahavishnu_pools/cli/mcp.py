"""The group ``mcp``: calling the tools of any MCP server."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mahavishnu_pools import errors
from mahavishnu_pools.cli import tool_help
from mahavishnu_pools.cli.exit_codes import ExitCode
from mahavishnu_pools.cli.formats.interface import Column, Document, Note, Table, Text
from mahavishnu_pools.cli.memory_server import token_of
from mahavishnu_pools.cli.options import Seconds, format_option
from mahavishnu_pools.cli.output import Output
from mahavishnu_pools.cli.which_stack import settings_in_force, with_data_dir
from mahavishnu_pools.token_file import file_named, read_tokens
from mahavishnu_pools.wording import did_you_mean, short

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mahavishnu_pools.mcp_client import McpClient, ToolAnswer
    from mahavishnu_pools.settings import Settings

#: Seconds a call may take; longer than the server's own waiting.
CALL_SECONDS = 60.0

#: Names of servers that can be given instead of a URL.
SERVERS = ("mahavishnu", "session-buddy", "akosha")

_TOKEN_FILE = click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with the bearer token (default: the setting of the named server).",
)


@click.group()
def mcp() -> None:
    """Call the tools of MCP servers: mahavishnu, session-buddy, akosha, or one at a URL."""


@mcp.command("tools")
@click.argument("server", metavar="SERVER")
@_TOKEN_FILE
@format_option
def list_tools(*, server: str, token_file: Path | None, output: Output) -> None:
    """List the tools of a server and their arguments.

    SERVER is mahavishnu, session-buddy, akosha, or a URL.
    """

    async def read(client: McpClient) -> Mapping[str, Mapping[str, Any]]:
        return await client.tools()

    found = _run(server, token_file, CALL_SECONDS, read)
    rows = tuple((name, ", ".join(_labels(schema))) for name, schema in sorted(found.items()))
    data = {"tools": [{"name": name, "arguments": dict(schema)} for name, schema in found.items()]}
    table = Table(f"Tools of {server}", (Column("Tool"), Column("Arguments (* needed)")), rows)
    output.show(Document(data, (table,)))


@mcp.command("call", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("server", metavar="SERVER")
@click.argument("tool", metavar="TOOL")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[--ARGUMENT VALUE]...")
@_TOKEN_FILE
@click.option("--wait-timeout", type=Seconds(), default=CALL_SECONDS, show_default=True, help="It may take this long.")
@format_option
def call(
    *,
    server: str,
    tool: str,
    arguments: tuple[str, ...],
    token_file: Path | None,
    wait_timeout: float,
    output: Output,
) -> ExitCode:
    """Call a tool and print its answer.

    SERVER is mahavishnu, session-buddy, akosha, or a URL; 'mahavishnu mcp tools SERVER' lists its tools with their
    arguments, and --help behind TOOL tells what they mean. Options of this command stand before SERVER, arguments of
    the tool behind TOOL. Lists and objects are JSON.
    """

    async def ask(client: McpClient) -> ToolAnswer | Document:
        known = await client.tools()
        if tool not in known:
            raise errors.UnknownChoice.of("tool", tool, list(known))
        if tool_help.is_asked_for(arguments, known[tool]):
            return tool_help.parameters(tool, known[tool])
        return await client.call(tool, parsed(arguments, known[tool], tool=tool))

    answer = _run(server, token_file, wait_timeout, ask)
    if isinstance(answer, Document):
        output.show(answer)
        return ExitCode.DONE
    if answer.failed:
        click.echo(answer.text if output.for_people or answer.value is None else _json(answer.value), err=True)
        return ExitCode.TASK_FAILED
    data = answer.value if isinstance(answer.value, dict) else {"result": answer.value, "text": answer.text}
    output.show(Document(data, (Note(answer.text),) if "\n" not in answer.text else (Text(tool, answer.text),)))
    return ExitCode.DONE


with_data_dir(mcp)


def parsed(given: Sequence[str], schema: Mapping[str, Any], *, tool: str) -> dict[str, Any]:
    """Return a tool's arguments from ``--name value`` and ``--name=value``, each as its schema wants it.

    Raises:
        InvalidField: a word is no option, has no value, or the tool has no such argument.
    """
    known: Mapping[str, Any] = schema.get("properties", {})
    found: dict[str, Any] = {}
    words = list(given)
    while words:
        word = words.pop(0)
        option, equals, value = word.partition("=")
        name = option.removeprefix("--")
        if not option.startswith("--") or not name:
            raise errors.InvalidField.of(short(word), "is no argument of the tool", "Write --NAME VALUE.")
        name = name if name in known else name.replace("-", "_")
        if name not in known:
            have = ", ".join(_labels(schema)) or "none"
            problem = f"is no argument of {tool}"
            raise errors.InvalidField.of(option, problem, f"{did_you_mean(name, list(known))}It has: {have}.")
        kinds = _kinds(known[name])
        if not equals:
            if kinds == {"boolean"} and (not words or words[0].startswith("--")):
                value = "true"
            elif not words:
                raise errors.InvalidField.of(option, "has no value", f"Write {option} VALUE.")
            else:
                value = words.pop(0)
        found[name] = _value(option, value, kinds)
    return found


def _value(option: str, text: str, kinds: set[str]) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    fits = not kinds or any(_is(value, kind) for kind in kinds if kind != "string")
    if fits and value is not text:
        return value
    if not kinds or "string" in kinds:
        return text
    raise errors.InvalidField.of(option, f"{short(text)} is none of: {', '.join(sorted(kinds))}", "Write it as JSON.")


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    types: dict[str, tuple[type, ...]] = {
        "integer": (int,),
        "number": (int, float),
        "array": (list,),
        "object": (dict,),
        "null": (type(None),),
    }
    return isinstance(value, types.get(kind, ()))


def _kinds(schema: Mapping[str, Any]) -> set[str]:
    kind = schema.get("type")
    if isinstance(kind, str):
        return {kind}
    if isinstance(kind, list):
        return set(kind)
    return {one for part in schema.get("anyOf", ()) for one in _kinds(part)}


def _labels(schema: Mapping[str, Any]) -> list[str]:
    needed = schema.get("required", ())
    return [f"{name}*" if name in needed else name for name in schema.get("properties", {})]


def _run(server: str, token_file: Path | None, seconds: float, action: Callable[[McpClient], Awaitable[Any]]) -> Any:
    import asyncio

    from mahavishnu_pools.mcp_client import McpClient

    url, token = address(server, token_file)

    async def run() -> Any:
        async with McpClient(url, token=token, timeout=seconds) as client:
            return await action(client)

    return asyncio.run(run())


def address(server: str, token_file: Path | None) -> tuple[str, str | None]:
    """Return the URL of a server and the token for it.

    Raises:
        UnknownChoice: it is neither a URL nor a known name.
        InvalidField: the file cannot be read, or is empty.
    """
    if "://" in server:
        return server, token_of(token_file, None)
    if server not in SERVERS:
        raise errors.UnknownChoice.of("server", server, [*SERVERS, "a URL"])
    url, token = server_of(server, settings_in_force())
    return url, token if token_file is None else token_of(token_file, None)


def server_of(name: str, settings: Settings) -> tuple[str, str | None]:
    """Return the URL of a named server, and its configured token."""
    named = {"session-buddy": settings.session_buddy_token, "akosha": settings.akosha_token}
    token = token_of(None, named.get(name, settings.server_token))
    if token is not None and name == "mahavishnu":
        file = file_named(token)
        # While it is changed, the setting and the file have the new one first.
        token = token.split(",")[0].strip() if file is None else read_tokens(file)[0]
    return _url(name, settings), token


def _url(server: str, settings: Settings) -> str:
    from mahavishnu_pools.embedded.state import read_state

    state = read_state(settings.data_dir)
    part = None if state is None else state.part("server" if server == "mahavishnu" else server)
    configured = {"session-buddy": "session_buddy_pool_url", "akosha": "akosha_url"}.get(server)
    chosen = configured is not None and configured in settings.model_fields_set
    if part is not None and part.url is not None and not chosen:
        return part.url
    if configured is not None:
        return str(getattr(settings, configured))
    return f"http://127.0.0.1:{settings.server_port}/mcp"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
