"""The root of all errors and its areas, by which exit codes and MCP errors are chosen."""

from __future__ import annotations

from typing import Any, Self


class MahavishnuError(Exception):
    """Root of every error of this project."""

    #: Stable, machine-readable name, shown in JSON errors and MCP errors.
    code = "error"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self._details = details

    def __getattr__(self, name: str) -> Any:
        details = self.__dict__.get("_details", {})
        if name in details:
            return details[name]
        raise AttributeError(name)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self._details))

    def details(self) -> dict[str, Any]:
        """Return the data of this error, ready for JSON."""
        return dict(self._details)

    def but(self, message: str, **details: Any) -> Self:
        """Return the same error with another message and further data."""
        error = type(self).__new__(type(self))
        MahavishnuError.__init__(error, message, **{**self._details, **details})
        return error


def _rebuild(cls: type[MahavishnuError], message: str, details: dict[str, Any]) -> MahavishnuError:
    error = cls.__new__(cls)
    MahavishnuError.__init__(error, message, **details)
    return error


class InvalidInput(MahavishnuError):
    """What the caller gave cannot be used; nothing was changed."""

    code = "invalid_input"


class NotFound(MahavishnuError):
    """The thing that was named does not exist."""

    code = "not_found"


class Unavailable(MahavishnuError):
    """A part that is needed (Redis, an agent, the stack) cannot be reached or used."""

    code = "unavailable"


class TaskOutcomeError(MahavishnuError):
    """A task ended without success; raised by ``AsyncResult.get()`` only, never by ``execute_on_pool``."""

    code = "task_not_successful"
