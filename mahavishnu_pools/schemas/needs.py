"""What tasks need of the node that runs them, and how it is written: ``gpu=1``, ``memory=8GiB``, a tag. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

#: Names of resources that every node knows of itself, and the one whose devices are handed out by number.
CPU, MEMORY, GPU = "cpu", "memory", "gpu"

#: So many things may be asked for at once.
MOST = 20

#: Nodes that are named when something is said of each.
NAMED_MOST = 5

#: The largest amount; larger ones would not be exact in the store.
LARGEST = 1e14

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,62}")
_AMOUNT = re.compile(r"(\d{1,15}(?:\.\d{1,6})?) ?(?:([kKMGTP])(i?)B?|B)?")
_POWERS: Mapping[str, int] = MappingProxyType({"k": 1, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5})
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


@dataclass(frozen=True, slots=True)
class Needs:
    """What a task asks for, sorted by name: amounts of resources, and tags that its node must have."""

    resources: tuple[tuple[str, float], ...] = ()
    tags: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Tell whether anything is asked for."""
        return bool(self.resources or self.tags)

    @property
    def text(self) -> str:
        """Return the one form in which the store keeps it (JSON): equal needs have equal texts."""
        given = {"resources": {name: _plain(amount) for name, amount in self.resources}, "tags": list(self.tags)}
        return json.dumps({name: value for name, value in given.items() if value}, separators=(",", ":"))

    @classmethod
    def of_text(cls, text: str) -> Needs:
        """Return needs as the store keeps them."""
        found = json.loads(text)
        return cls(tuple(sorted(found.get("resources", {}).items())), tuple(found.get("tags", ())))

    @property
    def texts(self) -> tuple[str, ...]:
        """Return it as it is written, amounts rounded."""
        return (*(f"{name}={shown(name, amount).replace(' ', '')}" for name, amount in self.resources), *self.tags)

    def __str__(self) -> str:
        """Return it for people."""
        return ", ".join(self.texts)


#: Of a task that asks for nothing.
NO_NEEDS = Needs()


def parse_needs(given: Iterable[str]) -> Needs:
    """Return what texts ask for: ``name=amount`` a resource, ``name`` a tag.

    Raises:
        ValueError: one cannot be read, is there twice, or is too much; the message says what and how to write it.
    """
    texts = list(given)
    if not texts:
        return NO_NEEDS
    if len(texts) > MOST:
        raise ValueError(f"asks for {len(texts)} things, and {MOST} is the most")
    resources: dict[str, float] = {}
    tags: set[str] = set()
    for text in texts:
        name, equals, amount = text.partition("=")
        if not equals:
            tags.add(_name(name))
        elif name.strip() in resources:
            raise ValueError(f"{name.strip()!r} is asked for twice")
        else:
            resources[_name(name)] = parse_amount(name.strip(), amount)
    return Needs(tuple(sorted(resources.items())), tuple(sorted(tags)))


def parse_resources(given: Iterable[str]) -> dict[str, float]:
    """Return what texts ``name=amount`` say that a node has; 0 is nothing.

    Raises:
        ValueError: one cannot be read, has no amount, or is there twice; the message says which.
    """
    found: dict[str, float] = {}
    for text in given:
        name, equals, amount = text.partition("=")
        if not equals:
            raise ValueError(f"{text[:80]!r} has no amount; write it like gpu=2, or make it a tag")
        if _name(name) in found:
            raise ValueError(f"{_name(name)!r} is there twice")
        found[_name(name)] = parse_amount(_name(name), amount, none=True)
    return found


def as_texts(given: Any) -> list[str]:
    """Return needs as texts, however they were given: a text, a list of them, or names with amounts (True: a tag).

    Raises:
        ValueError: it is something else.
    """
    if isinstance(given, str):
        return [given]
    if isinstance(given, Mapping):
        return [str(name) if amount is True else f"{name}={amount}" for name, amount in given.items()]
    if isinstance(given, Iterable):
        texts = list(given)
        if all(isinstance(one, str) for one in texts):
            return texts
    raise ValueError('must be a list such as ["gpu=1", "memory=8GiB", "big"]')


def parse_amount(name: str, text: str, *, none: bool = False) -> float:
    """Return an amount, in bytes where it has a unit such as ``MiB`` or ``GB``; ``none``: it may be 0.

    Raises:
        ValueError: it is none, zero, too large, or a part of a device.
    """
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{name}={text.strip()[:40]!r} is no amount; write it like gpu=1, cpu=0.5 or memory=8GiB")
    number, unit, binary = match.groups()
    amount = float(number) * ((1024 if binary else 1000) ** _POWERS[unit] if unit else 1)
    if not (0 < amount <= LARGEST or (none and amount == 0)):
        raise ValueError(f"{name}={text.strip()[:40]} must be above 0 and at most {LARGEST:g}")
    if name == GPU and amount != int(amount):
        raise ValueError(f"{name}={text.strip()[:40]}: devices are handed out whole")
    return amount


def shown(name: str, amount: float) -> str:
    """Return an amount for people."""
    if amount < 1024**2 and name != MEMORY:
        return f"{amount:g}"
    power = min(len(_UNITS) - 1, int(math.log(max(1.0, amount), 1024)))
    return f"{round(amount / 1024**power, 1):g} {_UNITS[power]}"


def missing(needs: Needs, *, tags: Collection[str], resources: Mapping[str, float]) -> str | None:
    """Return what a node with these tags and resources does not have of what is asked for, or None."""
    for tag in needs.tags:
        if tag not in tags:
            return f"it has no tag {tag}"
    for name, amount in needs.resources:
        if amount > resources.get(name, 0):
            return f"{name}: {shown(name, amount)} asked, it has {shown_of(name, resources)}"
    return None


def shown_of(name: str, resources: Mapping[str, float]) -> str:
    """Return how much there is of a resource, for people."""
    return shown(name, resources[name]) if resources.get(name) else "none"


def _name(text: str) -> str:
    name = text.strip()
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:80]!r} is no name of a resource or tag: letters, digits and ._/- only")
    return name


def _plain(amount: float) -> float:
    return int(amount) if amount == int(amount) else amount
