"""The data plane: what runs tasks. Installed as ``mahavishnu_workers``: a project's own ``workers`` is left alone."""
