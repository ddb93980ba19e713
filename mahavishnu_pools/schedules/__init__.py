"""Scheduled work: when a schedule is due, and what is sent then."""
