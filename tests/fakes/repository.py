"""A git repository for tests, and what must not change in it while tasks work beside it."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

_WHO = ("-c", "user.name=Ana", "-c", "user.email=ana@example.com", "-c", "init.defaultBranch=main")


class Repository:
    """A checkout with two files and one commit."""

    def __init__(self, top: Path, *, empty: bool = False) -> None:
        self.top = top
        top.mkdir(parents=True)
        self.git("init", "-q")
        if not empty:
            self.commit({"a.txt": "one\ntwo\nthree\n", "sub/b.txt": "b\n", ".gitignore": "*.o\n"})

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *_WHO, *arguments],
            cwd=self.top,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            path = self.top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def commit(self, files: dict[str, str], subject: str = "first") -> str:
        """Commit files and return the commit."""
        self.write(files)
        self.git("add", "--all")
        self.git("commit", "-qm", subject)
        return self.git("rev-parse", "HEAD")

    def branches(self) -> list[str]:
        """Return the branches of tasks."""
        return self.git("for-each-ref", "--format=%(refname:short)", "refs/heads/mahavishnu/").split()

    def state(self) -> dict[str, str]:
        """Return all that a task in a worktree must not change: files, index, HEAD, status, settings, other refs."""
        files = sorted(path for path in self.top.rglob("*") if path.is_file() and ".git" not in path.parts)
        digest = hashlib.sha256()
        for path in files:
            stat = path.stat()
            digest.update(f"{path} {stat.st_mode} {stat.st_mtime_ns} {stat.st_ino}".encode() + path.read_bytes())
        kept = {name: (self.top / ".git" / name).read_bytes().hex() for name in ("index", "HEAD", "config")}
        refs = [line for line in self.git("for-each-ref").splitlines() if "refs/heads/mahavishnu/" not in line]
        status = self.git("--no-optional-locks", "status", "--porcelain")
        return {"files": digest.hexdigest(), **kept, "refs": "\n".join(refs), "status": status}
