"""One node of a run: an agent that is started again when it was killed, and the processes below it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]


class Node:
    """An agent with a name and a directory of its own; ``env`` is what it gets besides."""

    def __init__(self, name: str, directory: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self._directory = directory
        directory.mkdir()
        self._env = {**env, "MAHAVISHNU_NODE_NAME": name, "MAHAVISHNU_DATA_DIR": str(directory)}
        self._agent: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start the agent, again when it is gone."""
        with self._log.open("ab") as log:
            self._agent = subprocess.Popen(
                [sys.executable, "-m", "workers.agent"],
                cwd=ROOT,
                env={**os.environ, **self._env},
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """Kill the agent's first process and wait for its end."""
        assert self._agent is not None
        self._agent.kill()
        self._agent.wait(timeout=30)

    def agent(self) -> psutil.Process:
        """Return the agent's first process."""
        assert self._agent is not None
        return psutil.Process(self._agent.pid)

    def controllers(self) -> list[psutil.Process]:
        """Return the agent's controller, as a list."""
        log = self.log()
        return [child for child in self.children() if f"Controller {child.pid} was started" in log]

    def children(self) -> list[psutil.Process]:
        """Return the agent's own children: the controller and the worker groups."""
        with contextlib.suppress(psutil.Error):
            return self.agent().children()
        return []

    def log(self) -> str:
        """Return what the agent and its groups have said."""
        return self._log.read_text(errors="replace")

    def end(self) -> None:
        """End the agent with everything it started."""
        with contextlib.suppress(psutil.Error):
            agent = self.agent()
            for process in [*agent.children(recursive=True), agent]:
                with contextlib.suppress(psutil.Error):
                    process.send_signal(signal.SIGCONT)
                    process.kill()
        if self._agent is not None:
            self._agent.wait(timeout=30)

    @property
    def _log(self) -> Path:
        return self._directory / "agent.log"
