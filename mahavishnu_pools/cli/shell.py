"""The command ``shell``: Python with the pools at hand, where ``await`` works."""

from __future__ import annotations

import ast
import asyncio
import code
import concurrent.futures
import inspect
import sys
import threading
import types
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import click

from mahavishnu_pools.cli.exit_codes import ExitCode
from mahavishnu_pools.cli.which_stack import settings_in_force, with_data_dir

_BANNER = (
    "maha_app.pool_manager is a PoolManager. `await` works: await maha_app.pool_manager.list_pools()\n"
    "Without a running stack the first use starts a private one. Ctrl-D ends."
)


@with_data_dir
@click.command("shell")
def shell() -> ExitCode:
    """Start Python with maha_app, PoolManager, PoolConfig, PoolSelector and MessageBus at hand; await works.

    Lines that come through a pipe are run; the exit code is then 1 when one of them failed.
    """
    from mahavishnu_pools import MessageBus, PoolConfig, PoolManager, PoolSelector
    from mahavishnu_pools.core.app import MahavishnuApp

    settings = settings_in_force()
    app = MahavishnuApp(settings)
    names: dict[str, Any] = {
        "__name__": "__console__",
        "maha_app": app,
        "PoolManager": PoolManager,
        "PoolConfig": PoolConfig,
        "PoolSelector": PoolSelector,
        "MessageBus": MessageBus,
    }
    with _Loop() as loop:
        console = _Console(names, loop)
        try:
            console.talk()
        finally:
            loop.run(app.close)
    return ExitCode.TASK_FAILED if console.failed and not sys.stdin.isatty() else ExitCode.DONE


class _Loop:
    """An event loop in a thread of its own; Ctrl-C while something runs there cancels it."""

    def __enter__(self) -> _Loop:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="shell", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, function: Callable[[], Any]) -> Any:
        """Call a function in the loop, await what it returns if that can be awaited, and return the result."""

        async def call() -> Any:
            outcome = function()
            return await outcome if inspect.isawaitable(outcome) else outcome

        future = asyncio.run_coroutine_threadsafe(call(), self._loop)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            with suppress(concurrent.futures.CancelledError, Exception):  # its end is awaited, not what came of it
                future.result(timeout=10)
            raise


class _Console(code.InteractiveConsole):
    """Runs what is typed in the loop."""

    def __init__(self, names: dict[str, Any], loop: _Loop) -> None:
        super().__init__(names)
        self.compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        self.failed = False
        self._names = names
        self._loop = loop

    def talk(self) -> None:
        """Read and run until the input ends."""
        at_terminal = sys.stdin.isatty()
        if at_terminal:
            with suppress(ImportError):
                import readline
                import rlcompleter

                readline.set_completer(rlcompleter.Completer(self._names).complete)
                readline.parse_and_bind("tab: complete")
        self.interact(_BANNER if at_terminal else "", exitmsg="")

    def raw_input(self, prompt: str = "") -> str:
        """Read a line; without a terminal there is nobody to prompt."""
        if sys.stdin.isatty():
            return super().raw_input(prompt)
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line.rstrip("\n")

    def runcode(self, code: types.CodeType) -> None:
        """Run a statement; what goes wrong is shown and the console goes on."""
        try:
            self._loop.run(types.FunctionType(code, self._names))
        except SystemExit:
            raise
        except BaseException:  # noqa: BLE001 - the border to what somebody typed
            self.failed = True
            self.showtraceback()

    def showsyntaxerror(self, filename: str | None = None, **kwargs: Any) -> None:
        """Show a syntax error."""
        self.failed = True
        super().showsyntaxerror(filename, **kwargs)
