"""What performs tasks: commands, AI programs and Python calls, each with its whole process tree under control."""
