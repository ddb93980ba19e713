"""Looks for inconsistencies in what is stored and for limits that are too low, and mends what it can."""
