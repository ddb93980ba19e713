"""A shell for tests of the command line: runs command lines in this process against a manager in memory."""

from __future__ import annotations

import json
import typing

import pytest

from mahavishnu_pools.cli.main import run
from mahavishnu_pools.cli.session import Session
from tests.fakes.cli_manager import FakeManager


class Shell:
    """Runs command lines against a manager in memory and keeps what was printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.manager = FakeManager()
        self.directory: str | None = None
        self.capsys = capsys
        self.out = ""
        self.err = ""

    def __call__(self, *arguments: str) -> int:
        session = Session(lambda: typing.cast(typing.Any, self.manager), directory=lambda: self.directory)
        code = run(["pools", *arguments], session=session)
        printed = self.capsys.readouterr()
        self.out, self.err = printed.out, printed.err
        return code

    @property
    def error(self) -> dict[str, typing.Any]:
        error: dict[str, typing.Any] = json.loads(self.err)["error"]
        return error
