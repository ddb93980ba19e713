"""An import path of the former layout; see ``tools.pools``."""
