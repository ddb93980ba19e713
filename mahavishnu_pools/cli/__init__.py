"""The command line: ``mahavishnu``."""
