"""Where memory records are delivered: one module for each kind of server."""
