"""The one place that turns the names of Python arguments in a message into the options of the command that runs."""

from __future__ import annotations

import click

from mahavishnu_pools import errors
from mahavishnu_pools.refusals import renamed

#: Arguments of Python whose option is called otherwise.
_CALLED = {"pool_affinity": "affinity", "pool_selector": "selector", "filters": "pool_filter"}

#: What closing a pool can do with its tasks.
_CLOSING = "--move [--to POOL] gives them to other pools, --drain waits until they have run, --cancel cancels them"


def with_options(exc: errors.MahavishnuError, command: click.Command | None) -> errors.MahavishnuError:
    """Return an error as somebody reads it who gave options; the error itself where nothing is to be changed."""
    if command is None:
        return exc
    if isinstance(exc, errors.PoolBusy):
        about = exc.details()
        return errors.PoolBusy.of(about["pool"], about["queued"], about["running"], ways=_CLOSING)
    names = {str(one.name): _shown(one) for one in command.params}
    names |= {argument: names[option] for argument, option in _CALLED.items() if option in names}
    message, details = renamed(exc.message, names.get), exc.details()
    if message == exc.message:
        return exc
    if isinstance(details.get("field"), str):
        details["field"] = names.get(details["field"].split(".")[0], details["field"])
    return type(exc)(message, **details)


def running_command() -> click.Command | None:
    """Return the command that runs now, None outside of one."""
    context = click.get_current_context(silent=True)
    return None if context is None else context.command


def _shown(parameter: click.Parameter) -> str:
    if isinstance(parameter, click.Argument):
        return (parameter.metavar or parameter.name or "").strip("[].").upper()
    return max(parameter.opts, key=len)
