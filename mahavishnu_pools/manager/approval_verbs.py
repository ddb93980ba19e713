"""What a manager does with tasks that await approval."""

from __future__ import annotations

import getpass
import secrets
import socket

from mahavishnu_pools import errors
from mahavishnu_pools.manager.connection import Connected
from mahavishnu_pools.routing.approving import approve_task
from mahavishnu_pools.schemas.approval import Decision
from mahavishnu_pools.store.approvals import Word, refuse
from mahavishnu_pools.store.steps import run_steps

#: Characters that the name of who decides, and a reason, may have.
BY_MOST, REASON_MOST = 100, 1000


class ApprovalVerbs(Connected):
    """The verbs that decide whether a task may run."""

    async def approve(
        self, task_id: str, *, by: str | None = None, reason: str | None = None, pool: str | None = None
    ) -> Decision:
        """Let a task run that awaits approval: its pool is chosen now, as it was wished when it was submitted.

        ``by`` is who approves (None: this user of this machine). ``pool`` (id or name) sends it to another pool. One
        that was approved before stays so; the answer says by whom.

        Raises:
            TaskNotFound, InvalidField: there is no such task, or it needs no approval.
            AlreadyDecided: it was refused or cancelled, or nobody approved of it in time.
            PoolNotFound, PoolGone, NoPoolAvailable, MissingProgram: no pool can take it; it still awaits approval.
        """
        word = _word(by, reason)
        parts = await self._connected()
        ttl = self.settings.result_expires
        return await run_steps(parts.store, approve_task(parts.chooser, task_id, word, pool=pool, result_ttl=ttl))

    async def refuse(self, task_id: str, *, by: str | None = None, reason: str | None = None) -> Decision:
        """End a task that awaits approval, with the status ``refused``; one that was refused before stays so.

        Raises:
            TaskNotFound, InvalidField: there is no such task, or it needs no approval.
            AlreadyDecided: it was approved or cancelled, or nobody approved of it in time.
        """
        word = _word(by, reason)
        return await (await self._connected()).store.run(refuse(task_id, word, result_ttl=self.settings.result_expires))


def _word(by: str | None, reason: str | None) -> Word:
    who = _this_user() if by is None else by.strip()
    for name, text, most in (("by", who, BY_MOST), ("reason", reason or "", REASON_MOST)):
        if len(text) > most:
            raise errors.InvalidField.of(name, f"has {len(text)} characters", f"Give at most {most}.")
    if not who or not who.isprintable():
        raise errors.InvalidField.of("by", "is no name", "Say in a line who decides.")
    return Word(who, (reason or "").strip(), secrets.token_hex(8))


def _this_user() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in some containers
        user = "somebody"
    return f"{user}@{socket.gethostname()}"[:BY_MOST]
