"""Choosing pools: for one task (routing) and for the parts of one (distribution)."""
