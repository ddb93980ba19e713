"""A stand-in for docker or podman: their command line, with real processes as containers and no isolation at all.

A container is kept by a process of its own, as it is by a real engine: it outlives the program that started it, and
all its processes end with its first one. It runs on the machine's own files, so images have no contents; an image whose
name begins with ``missing`` is not there. State is in the directory DOCKER_STAND_IN: a directory per container, the
calls that were made (``calls.jsonl``), and ``down``, a file that makes the engine silent. Run as a script.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import uuid
from pathlib import Path

SILENT = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"

_SUBREAPER = 36

#: Head of a piece of output on its way from the container's keeper to the program: stream and length.
_HEAD = struct.Struct("!BI")


def state() -> Path:
    return Path(os.environ["DOCKER_STAND_IN"])


def containers() -> list[dict[str, object]]:
    found = []
    for path in state().glob("*/container.json"):
        with contextlib.suppress(OSError, ValueError):
            found.append(json.loads(path.read_text()))
    return found


def find(name: str) -> dict[str, object] | None:
    return next((one for one in containers() if name in (one["name"], one["id"])), None)


# ── run ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def parse_run(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="docker run", exit_on_error=False, allow_abbrev=False, add_help=False)
    for switch in ("--rm", "--read-only", "--init", "--interactive"):
        parser.add_argument(switch, action="store_true")
    for once in ("--name", "--pull", "--network", "--cpus", "--memory", "--user", "--workdir", "--entrypoint"):
        parser.add_argument(once)
    parser.add_argument("--stop-timeout", type=int)
    parser.add_argument("--log-driver")
    for often in ("--label", "--mount", "--env", "--env-file"):
        parser.add_argument(often, action="append", default=[])
    parser.add_argument("image")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser.parse_args(argv)


def container_env(given: argparse.Namespace) -> dict[str, str]:
    env = {"PATH": os.defpath + ":/usr/local/bin", "HOSTNAME": "container"}
    pairs = [line.partition("=") for file in given.env_file for line in Path(file).read_text().splitlines()]
    for name, _, value in (*pairs, *(one.partition("=") for one in given.env)):
        if value or name in os.environ:
            env[name] = value or os.environ[name]
    return env


def fail(text: str, code: int = 125) -> int:
    sys.stderr.write(f"docker: {text}\n\nRun 'docker run --help' for more information\n")
    return code


def run(argv: list[str]) -> int:
    given = parse_run(argv)
    if given.image.startswith("missing"):
        return fail(f"Error response from daemon: No such image: {given.image}")
    if find(given.name):
        return fail(f'Error response from daemon: Conflict. The container name "/{given.name}" is already in use')
    for mount in given.mount:
        source = dict(part.partition("=")[::2] for part in mount.split(","))["source"]
        if not os.path.exists(source):
            return fail(f"Error response from daemon: invalid mount config: bind source path does not exist: {source}")
    place = state() / uuid.uuid4().hex
    place.mkdir()
    command = ([given.entrypoint] if given.entrypoint else []) + given.command
    labels = dict(label.partition("=")[::2] for label in given.label)
    record = {"id": place.name, "name": given.name, "labels": labels, "rm": given.rm, "image": given.image}
    order = {**record, "command": command or ["true"], "env": container_env(given), "cwd": given.workdir or "/"}
    ours, theirs = socket.socketpair()
    with ours, theirs:
        keeper = subprocess.Popen(
            [sys.executable, "-IS", __file__, "keep", str(place), str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stdin=None if given.interactive else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            # The engine is a process of the system: it has nothing of the environment of who asks it.
            env={"ORDER": json.dumps(order), "PATH": os.environ["PATH"]},
            start_new_session=True,
        )
        keeper.wait()
        theirs.close()
        return attend(ours, place.name)


def attend(channel: socket.socket, container: str) -> int:
    """Show the container's output, pass signals on, return its exit code."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _: deliver(container, got))
    with channel.makefile("rb") as stream:
        while head := stream.read(_HEAD.size):
            kind, length = _HEAD.unpack(head)
            data = stream.read(length)
            if kind == 0:
                code = int(data)
                return (
                    fail("Error response from daemon: exec: executable file not found", code) if code == 127 else code
                )
            os.write(kind, data)
    return fail("error waiting for container: unexpected EOF")


def deliver(container: str, number: int) -> None:
    """Send a signal to the first process, which ignores one that it has no handler for."""
    record = find(container)
    with contextlib.suppress(OSError, TypeError, KeyError):
        pid = int(str((record or {})["pid"]))
        caught = next(
            line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt")
        )
        if int(caught.split()[1], 16) >> (number - 1) & 1:
            os.kill(pid, number)


# ── the keeper ───────────────────────────────────────────────────────────────────────────────────────────────────────


def keep(place: Path, fd: int) -> None:
    """Be the engine of one container: start it, pass its output on while somebody listens, end all of it."""
    if os.fork():
        # No child of who started it: whoever ends that one with all its descendants does not end an engine.
        os._exit(0)
    order = json.loads(os.environ["ORDER"])
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    channel = socket.socket(fileno=fd)
    outs = {stream: os.pipe() for stream in (1, 2)}
    try:
        process = subprocess.Popen(
            order["command"], env=order["env"], cwd=order["cwd"], stdout=outs[1][1], stderr=outs[2][1]
        )
    except FileNotFoundError:
        finish(place, order, channel, 127)
        return
    for _, write in outs.values():
        os.close(write)
    record = {name: order[name] for name in ("id", "name", "labels", "image")}
    new = place / "new"
    new.write_text(json.dumps({**record, "pid": process.pid, "keeper": os.getpid()}))
    new.rename(place / "container.json")
    pump(process, {stream: read for stream, (read, _) in outs.items()}, channel)
    finish(place, order, channel, 128 - process.returncode if process.returncode < 0 else process.returncode)


def pump(process: subprocess.Popen[bytes], outs: dict[int, int], channel: socket.socket) -> None:
    import selectors

    with selectors.DefaultSelector() as selector:
        for stream, fd in outs.items():
            selector.register(fd, selectors.EVENT_READ, stream)
        exit_fd = os.pidfd_open(process.pid)
        selector.register(exit_fd, selectors.EVENT_READ, 0)
        while selector.get_map():
            for key, _ in selector.select():
                if key.data == 0:
                    process.wait()
                    end_all(os.getpid())
                elif data := os.read(key.fd, 65536):
                    send(channel, key.data, data)
                    continue
                selector.unregister(key.fd)


def end_all(keeper: int) -> None:
    """Kill what is left below the keeper, as an engine ends a container's processes with the first one."""
    while pids := Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split():
        for pid in pids:
            os.kill(int(pid), signal.SIGKILL)
            os.waitpid(int(pid), 0)


def send(channel: socket.socket, kind: int, data: bytes) -> None:
    with contextlib.suppress(OSError):
        channel.sendall(_HEAD.pack(kind, len(data)) + data)


def finish(place: Path, order: dict[str, object], channel: socket.socket, code: int) -> None:
    if order["rm"]:
        erase(place)
    send(channel, 0, str(code).encode())


def erase(place: Path) -> None:
    for name in ("new", "container.json"):
        (place / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        place.rmdir()


# ── the other commands ───────────────────────────────────────────────────────────────────────────────────────────────


def ps(argv: list[str]) -> int:
    wanted = [one.removeprefix("--filter=label=") for one in argv if one.startswith("--filter=")]
    for one in containers():
        labels = one["labels"]
        assert isinstance(labels, dict)
        if all(f"{name}={labels.get(name)}" == want for want in wanted for name in [want.partition("=")[0]]):
            print(one["id"])
    return 0


def kill(argv: list[str], *, remove: bool = False) -> int:
    code = 0
    for name in argv:
        record = find(name)
        if record is None:
            sys.stderr.write(f"Error response from daemon: No such container: {name}\n")
            code = 1
            continue
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(str(record["pid"])), signal.SIGKILL)
        deadline = time.monotonic() + 5
        while os.path.exists(f"/proc/{record['keeper']}/fd") and alive(int(str(record["keeper"]))):
            if time.monotonic() > deadline:
                return 1
            time.sleep(0.01)
        if remove:
            erase(state() / str(record["id"]))
    return code


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def main(argv: list[str]) -> int:
    if argv[0] == "keep":
        keep(Path(argv[1]), int(argv[2]))
        return 0
    with (state() / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps(argv) + "\n")
    if (state() / "down").exists():
        return fail(SILENT) if argv[0] == "run" else (sys.stderr.write(SILENT + "\n"), 1)[1]
    if argv[0] == "run":
        return run(argv[1:])
    if argv[0] == "ps":
        return ps(argv[1:])
    names = [one for one in argv[1:] if not one.startswith("--")]
    return kill(names, remove=argv[0] == "rm")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
