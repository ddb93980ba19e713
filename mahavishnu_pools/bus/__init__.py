"""The message bus: news between pools, at most once, never the only copy of anything."""
