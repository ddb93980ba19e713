"""Stand-ins for what cannot be part of a test run."""
