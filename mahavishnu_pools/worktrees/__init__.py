"""Git worktrees of tasks: made, committed, removed, looked at and applied. Knows no Redis and no workers."""
