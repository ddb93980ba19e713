"""What programs around the pools connect to."""
