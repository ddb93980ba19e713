"""An import path of the former layout; see ``protocols.message_bus``."""
