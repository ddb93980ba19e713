"""An import path of the former layout; see ``message_bus``."""
