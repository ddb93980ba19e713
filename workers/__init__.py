"""The data plane: what runs tasks. Installed as ``mahavishnu_workers``, so that a project's own ``workers`` is left alone."""
