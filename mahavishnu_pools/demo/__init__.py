"""The main job of ``make run``: analyse every Python file of a directory on three pools of a stack of its own."""
