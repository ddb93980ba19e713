"""Measurements on private stacks of this machine: ``make bench``. Every figure in the documents was printed by them."""
