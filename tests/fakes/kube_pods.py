"""Runs Pods as a kubelet does, with processes of this machine in place of containers."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import re
import shutil
import signal
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tests.fakes.kube_store import Object, now

if TYPE_CHECKING:
    from tests.fakes.kube_api import Machine

#: Marks every process of a Pod, as its own process namespace would.
MARK = "FAKE_POD_UID"

_IMAGE = re.compile(r"[a-z0-9][a-z0-9._/:@-]*")


def expand(text: str, known: dict[str, str]) -> str:
    """Expand ``$(NAME)`` as Kubernetes does: ``$$`` is one ``$``, an unknown name stays as it is."""
    found, at = [], 0
    while at < len(text):
        if text[at] != "$" or at + 1 == len(text):
            found.append(text[at])
            at += 1
        elif text[at + 1] == "$":
            found.append("$")
            at += 2
        elif text[at + 1] == "(" and (end := text.find(")", at)) > 0:
            name = text[at + 2 : end]
            found.append(known.get(name, f"$({name})"))
            at = end + 1
        else:
            found.append(text[at : at + 2])
            at += 2
    return "".join(found)


@dataclass
class Output:
    """A container's log: pieces as they came, each with its time."""

    entries: list[tuple[int, bytes]] = field(default_factory=list)
    closed: bool = False
    endings: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, data: bytes) -> None:
        if self.entries and not self.entries[-1][1].endswith(b"\n"):
            # What goes on in a line has its time.
            end = data.find(b"\n") + 1 or len(data)
            self.entries.append((self.entries[-1][0], data[:end]))
            data = data[end:]
        if data:
            self.entries.append((time.time_ns(), data))
        self._tell()

    def end_streams(self) -> None:
        self.endings += 1
        self._tell()

    def close(self) -> None:
        self.closed = True
        if self.entries and not self.entries[-1][1].endswith(b"\n"):
            # Runtimes end the last line of a log.
            self.add(b"\n")
        self._tell()

    def _tell(self) -> None:
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


class Container(Exception):
    """Why a container does not start: the state it waits in, or (``exit_code``) it has ended at once."""

    def __init__(self, reason: str, message: str, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.reason, self.message, self.exit_code = reason, message, exit_code


class PodRun:
    """One Pod from its start to its end."""

    def __init__(self, machine: Machine, pod: Object) -> None:
        self.machine, self.pod = machine, pod
        self.logs: dict[str, Output] = {}
        self.directory = Path(tempfile.mkdtemp(prefix="fake-pod-"))
        self.process: asyncio.subprocess.Process | None = None
        self.killed: str | None = None
        self.gone = asyncio.Event()

    @property
    def name(self) -> str:
        return str(self.pod["metadata"]["name"])

    async def run(self) -> None:
        try:
            await self._run()
        finally:
            self._sweep()
            if self.process is not None:
                await self.process.wait()
            shutil.rmtree(self.directory, ignore_errors=True)
            for log in self.logs.values():
                if not log.closed:
                    log.close()
            self.gone.set()

    async def _run(self) -> None:
        await self.machine.schedulable(self)
        status = self.pod["status"]
        status["conditions"] = [{"type": "PodScheduled", "status": "True"}]
        status["startTime"] = now()
        spec = self.pod["spec"]
        await self._say({"waiting": {"reason": "ContainerCreating"}})
        for container in [*spec.get("initContainers", []), spec["containers"][0]]:
            state = await self._until_ended(container)
            if state.get("exitCode") != 0:
                break
        if self.killed == "evicted":
            return
        status["phase"] = "Succeeded" if state["exitCode"] == 0 else "Failed"
        await self._say({"terminated": state}, container=container)

    async def _until_ended(self, container: Object) -> Object:
        while True:
            try:
                return await self._container(container)
            except Container as trouble:
                if trouble.exit_code is not None:
                    began = "1970-01-01T00:00:00Z"
                    about = {"startedAt": began, "finishedAt": now(), "message": trouble.message}
                    return {"exitCode": trouble.exit_code, "reason": trouble.reason, **about}
                await self._say({"waiting": {"reason": trouble.reason, "message": trouble.message}}, container)
                if trouble.reason == "ErrImagePull":
                    await self.machine.pause(0.05)
                    text = f'Back-off pulling image "{container["image"]}": {trouble.message}'
                    await self._say({"waiting": {"reason": "ImagePullBackOff", "message": text}}, container)
                await self.machine.pause(0.2)

    async def _container(self, container: Object) -> Object:
        self._check_image(container["image"])
        env = self._environment(container)
        mounts = self._mounts(container)
        argv = [expand(one, env) for one in (*container.get("command", []), *container.get("args", []))]
        argv = [_moved(one, mounts) for one in argv]
        env = {name: _moved(text, mounts, tmp=True) for name, text in env.items()}
        cwd = _moved(container.get("workingDir") or str(self.directory), mounts, tmp=True)
        os.makedirs(cwd, exist_ok=True)
        if not argv or shutil.which(argv[0], path=self.machine.path) is None:
            program = argv[0] if argv else ""
            text = f'exec: "{program}": executable file not found in $PATH: unknown'
            raise Container("StartError", f"failed to create containerd task: {text}", 128)
        output = self.logs.setdefault(container["name"], Output())
        env = {"PATH": self.machine.path, "HOSTNAME": self.name, **env, MARK: self.pod["metadata"]["uid"]}
        self.process = await asyncio.create_subprocess_exec(
            *argv,
            cwd=cwd,
            env=env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        began = now()
        self.pod["status"]["phase"] = "Running"
        await self._say({"running": {"startedAt": began}}, container)
        reading = asyncio.create_task(self._read(output))
        # `wait` would also wait for whoever holds the output open.
        while (code := self.process.returncode) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        self._sweep()
        await reading
        output.close()
        return self._ended(code, container, began)

    def _ended(self, code: int, container: Object, began: str) -> Object:
        limited = (container.get("resources") or {}).get("limits", {}).get("memory")
        shown = code if code >= 0 else 128 - code
        reason = "Completed" if code == 0 else "Error"
        if code == -signal.SIGKILL and limited and self.killed is None:
            reason = "OOMKilled"
        return {"exitCode": shown, "reason": reason, "startedAt": began, "finishedAt": now()}

    async def _read(self, output: Output) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        while data := await self.process.stdout.read(65536):
            output.add(data)

    def _check_image(self, image: str) -> None:
        if not _IMAGE.fullmatch(image):
            raise Container(
                "InvalidImageName", f'Failed to apply default image tag "{image}": invalid reference format'
            )
        if "missing" in image:
            text = (
                f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": {image}: not found'
            )
            raise Container("ErrImagePull", text)

    def _environment(self, container: Object) -> dict[str, str]:
        env: dict[str, str] = {}
        for source in container.get("envFrom", []):
            reference = source.get("secretRef") or source.get("configMapRef")
            env.update(self._values("secrets" if "secretRef" in source else "configmaps", reference["name"]))
        for one in container.get("env", []):
            if "value" in one:
                env[one["name"]] = expand(one["value"], env)
            elif reference := one.get("valueFrom", {}).get("secretKeyRef"):
                env[one["name"]] = self._values("secrets", reference["name"])[reference["key"]]
            elif "fieldRef" in one.get("valueFrom", {}):
                env[one["name"]] = self.name
        return env

    def _values(self, plural: str, name: str) -> dict[str, str]:
        found = self.machine.store.objects.get((plural, self.pod["metadata"]["namespace"], name))
        if found is None:
            raise Container("CreateContainerConfigError", f'{plural.rstrip("s")} "{name}" not found')
        data = found.get("data") or {}
        plain = {key: base64.b64decode(one).decode("utf-8", "surrogateescape") for key, one in data.items()}
        return plain if plural == "secrets" else dict(data)

    def _mounts(self, container: Object) -> dict[str, Path]:
        volumes = {one["name"]: one for one in self.pod["spec"].get("volumes", [])}
        found = {}
        for mount in container.get("volumeMounts", []):
            place = self.directory / mount["name"]
            place.mkdir(exist_ok=True)
            volume = volumes[mount["name"]]
            if "secret" in volume:
                for key, text in self._values("secrets", volume["secret"]["secretName"]).items():
                    (place / key).write_bytes(text.encode("utf-8", "surrogateescape"))
            found[mount["mountPath"]] = place
        return found

    async def _say(self, state: Object, container: Object | None = None) -> None:
        spec = self.pod["spec"]
        container = container or spec["containers"][0]
        group = "initContainerStatuses" if container in spec.get("initContainers", []) else "containerStatuses"
        about = {"name": container["name"], "image": container["image"], "state": state, "restartCount": 0}
        self.pod["status"][group] = [about]
        if self.machine.alive(self.pod):
            await self.machine.store.touch("pods", self.pod)

    async def end(self, grace: float, why: str = "deleted") -> None:
        """Send TERM to the first process, wait, and kill what is left."""
        self.killed = why
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self.gone.wait()), grace)
            if self.process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.process.pid, signal.SIGKILL)

    def _sweep(self) -> None:
        """A container ends with its first process, whoever else is in it."""
        uid = self.pod["metadata"]["uid"]
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(MARK) == uid:
                    process.kill()


def _moved(text: str, mounts: dict[str, Path], *, tmp: bool = False) -> str:
    """Return where a path of the container is on this machine."""
    for path, place in mounts.items():
        if (text == path or text.startswith(f"{path}/")) and (tmp or path != "/tmp"):
            return str(place) + text[len(path) :]
    return text
