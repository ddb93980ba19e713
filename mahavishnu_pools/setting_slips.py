"""Warns of settings that are misspelt, in the settings file and in the environment."""

from __future__ import annotations

import difflib
import os
import warnings
from collections.abc import Collection
from pathlib import Path

from mahavishnu_pools import errors
from mahavishnu_pools.yaml_file import read_yaml

#: How near a variable's name must be to a setting's to be taken for a slip of the pen: others may be somebody else's.
SLIP = 0.8


class UnknownSettingWarning(UserWarning):
    """The settings file is not there, or a key in it or a variable is not known; the message names the nearest one."""


def warn_of_unknown_keys(path: Path, known: Collection[str]) -> None:
    """Warn of keys in the settings file that are no settings.

    Raises:
        InvalidConfig: it holds something else than settings.
    """
    if not path.is_file():
        if os.environ.get("MAHAVISHNU_SETTINGS_FILE") and not path.is_char_device():  # /dev/null says "no file"
            text = f"MAHAVISHNU_SETTINGS_FILE names {path}, which is no file. The defaults and the environment count."
            warnings.warn(text, UnknownSettingWarning, stacklevel=3)
        return
    content = read_yaml(path)
    named = content is None or (isinstance(content, dict) and all(isinstance(key, str) for key in content))
    if not named:
        raise errors.InvalidConfig(f"{path} must hold settings as 'name: value' lines.", file=str(path))
    for key in content or {}:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            warnings.warn(f"{path}: unknown setting {key!r} is ignored.{hint}", UnknownSettingWarning, stacklevel=3)


def warn_of_near_variables(known: Collection[str]) -> None:
    """Warn of variables whose name is nearly that of a setting."""
    prefix = "MAHAVISHNU_"
    names = [*known, "settings_file"]
    for name in sorted(os.environ):
        own = name.removeprefix(prefix).lower()
        if not name.startswith(prefix) or own in names:
            continue
        near = difflib.get_close_matches(own, names, n=1, cutoff=SLIP)
        if near:
            text = f"The variable {name} is no setting and is ignored. Did you mean {prefix}{near[0].upper()}?"
            warnings.warn(text, UnknownSettingWarning, stacklevel=3)
