"""Handlers of task types: what a task_type and its payload become."""
