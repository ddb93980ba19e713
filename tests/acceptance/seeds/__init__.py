"""Runs every command line and every Python block of the user's documents: ``python -m tests.acceptance.seeds DIR``."""
