"""The node agent: starts, watches, restarts and stops the worker groups of one machine."""
