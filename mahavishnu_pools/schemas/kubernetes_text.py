"""Texts that Kubernetes takes: names, labels, quantities. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from mahavishnu_pools.wording import short

#: The longest name of most objects (a label of a DNS name), and of a part of a label's key or a label's value.
LONGEST_NAME = 63

#: The longest name that an object may have whose name is a DNS name.
LONGEST_SUBDOMAIN = 253

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_QUALIFIED = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_QUANTITY = re.compile(
    r"(?P<number>[0-9]{1,18}(?:\.[0-9]{1,9})?|\.[0-9]{1,9})(?P<unit>m|k|[MGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,2})?"
)

_POWERS = {"k": 1, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}

#: A share of Pods: a number, or a percentage.
_SHARE = re.compile(r"[0-9]{1,6}|(?:100|[0-9]{1,2})%")


def is_dns_label(value: str) -> bool:
    """Tell whether a text may be the name of a namespace, a volume or a container."""
    return len(value) <= LONGEST_NAME and bool(_LABEL.fullmatch(value))


def is_subdomain(value: str) -> bool:
    """Tell whether a text may be the name of a Secret, a ConfigMap, a service account and most else."""
    return len(value) <= LONGEST_SUBDOMAIN and bool(_SUBDOMAIN.fullmatch(value))


def is_label_key(value: str) -> bool:
    """Tell whether a text may be the key of a label or an annotation: a name, or ``prefix/name``."""
    prefix, slash, name = value.rpartition("/")
    fits = 0 < len(name) <= LONGEST_NAME and bool(_QUALIFIED.fullmatch(name))
    return fits and (not slash or is_subdomain(prefix))


def is_label_value(value: str) -> bool:
    """Tell whether a text may be the value of a label; it may be empty."""
    return not value or (len(value) <= LONGEST_NAME and bool(_QUALIFIED.fullmatch(value)))


def quantity(text: str) -> Decimal:
    """Return the number that a quantity such as ``500m``, ``1.5Gi`` or ``2`` stands for.

    Raises:
        ValueError: it is none.
    """
    found = _QUANTITY.fullmatch(text)
    if found is None:
        raise ValueError(f"{short(text)} is no quantity; write 500m, 2, 512Mi or 1.5Gi")
    number, unit = Decimal(found["number"]), found["unit"] or ""
    return number * _factor(unit)


def _factor(unit: str) -> Decimal:
    if unit.endswith("i"):
        return Decimal(1024) ** _POWERS[unit[0]]
    if unit in _POWERS:
        return Decimal(1000) ** _POWERS[unit]
    return Decimal("0.001") if unit == "m" else Decimal(f"1{unit}")


def _dns_label(value: str) -> str:
    if not is_dns_label(value):
        raise ValueError(
            f"{short(value)} must be 1 to 63 small letters, digits and '-', beginning and ending with a letter or digit"
        )
    return value


def _subdomain(value: str) -> str:
    if not is_subdomain(value):
        raise ValueError(
            f"{short(value)} must be 1 to 253 small letters, digits, '-' and '.', every part between dots beginning "
            "and ending with a letter or digit"
        )
    return value


def _label_keys(value: Mapping[str, str]) -> Mapping[str, str]:
    for name in value:
        if not is_label_key(name):
            raise ValueError(
                f"{short(name)} cannot be a key; use name or prefix.example.org/name, the name at most 63 letters, "
                "digits, '-', '_' and '.'"
            )
    return value


def _label_values(value: Mapping[str, str]) -> Mapping[str, str]:
    for name, one in value.items():
        if not is_label_value(one):
            raise ValueError(
                f"{short(one)} cannot be the value of {name}; use at most 63 letters, digits, '-', '_' and '.', "
                "beginning and ending with a letter or digit"
            )
    return value


def _variables(value: Mapping[str, str]) -> Mapping[str, str]:
    for name, one in value.items():
        if not _VARIABLE.fullmatch(name):
            raise ValueError(f"{short(name)} cannot be the name of a variable")
        if "\0" in one:
            raise ValueError(f"the value of {name} holds a NUL character")
    return value


def _positive(value: str) -> str:
    if quantity(value) <= 0:
        raise ValueError(f"{short(value)} must be greater than zero")
    return value


def _number_as_text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _share(value: str) -> str:
    if not _SHARE.fullmatch(value):
        raise ValueError(f"{short(value)} must be a number of Pods or a percentage such as 25%")
    return value


def _absolute(value: str) -> str:
    if not value.startswith("/") or "\0" in value or ":" in value:
        raise ValueError(f"{short(value)} must be an absolute path in the container, without ':'")
    return value


DnsLabel = Annotated[str, AfterValidator(_dns_label)]
Subdomain = Annotated[str, AfterValidator(_subdomain)]
Labels = Annotated[dict[str, str], AfterValidator(_label_keys), AfterValidator(_label_values)]
Annotations = Annotated[dict[str, str], AfterValidator(_label_keys)]
Variables = Annotated[dict[str, str], AfterValidator(_variables)]
Quantity = Annotated[str, BeforeValidator(_number_as_text), AfterValidator(_positive)]
Share = Annotated[str, BeforeValidator(_number_as_text), AfterValidator(_share)]
ContainerPath = Annotated[str, AfterValidator(_absolute)]
