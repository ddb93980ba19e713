"""Faults on purpose: a recorded workload, random faults from a seed, and a checker over what happened."""
