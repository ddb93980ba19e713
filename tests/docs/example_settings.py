"""The example of a settings file, made from the table of settings; ``python -m tests.docs.reference`` writes it."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import yaml

from mahavishnu_pools.settings import Settings

ROOT = Path(__file__).resolve().parents[2]

#: The example; it stands in no place where a stack that is started here would read it.
FILE = ROOT / "examples" / "settings" / "mahavishnu.yaml"

_HEAD = """\
# Every setting with its default. Copy this file to settings/mahavishnu.yaml below the directory you start from, or name
# it in MAHAVISHNU_SETTINGS_FILE, and take the '# ' away from what you want to change. Variables of the environment
# (MAHAVISHNU_ and the name in capitals) win over it. Times are seconds, sizes bytes; docs/configuration.md says more.
"""

_ROW = re.compile(r"^\| `(\w+)` \| (.*?) \| (.*) \|$")


def text() -> str:
    """Return what the file must hold."""
    parts = [_HEAD]
    for line in (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8").splitlines():
        row = _ROW.match(line)
        if line.startswith("## "):
            parts.append(f"\n# ── {line.removeprefix('## ')} ──\n")
        elif row is not None:
            meaning = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", row[3].replace("\\|", "|"))
            explained = textwrap.fill(meaning, 116, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
            parts.append(f"\n{explained}\n# {row[1]}: {_value(row[1])}\n")
    return "".join(parts)


def uncommented() -> dict[str, Any]:
    """Return the settings of the file as it stands, as if all of them were taken."""
    lines = FILE.read_text(encoding="utf-8").splitlines()
    one = re.compile(r"# [a-z_]+: ?\S*$|# [a-z_]+: (['\"\[h]|\w+ <)")
    found = [line.removeprefix("# ") for line in lines if one.match(line)]
    settings: dict[str, Any] = yaml.safe_load("\n".join(found))
    return settings


def _value(name: str) -> str:
    if name == "data_dir":
        return "~/.local/share/mahavishnu"
    default = Settings.model_fields[name].default
    plain = list(default) if isinstance(default, tuple) else default
    dumped = yaml.safe_dump(plain if not isinstance(plain, str) else str(plain), default_flow_style=True)
    return dumped.removesuffix("...\n").strip()
