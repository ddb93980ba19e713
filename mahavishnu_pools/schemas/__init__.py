"""Frozen, typed values that the rest of the project passes around."""
