"""The local stack: an embedded server, the node agent and beat on one machine, kept alive by a small supervisor."""
