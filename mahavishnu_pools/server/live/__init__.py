"""The page at ``/``: pools, tasks and their output as they are now, and the JSON under ``/api`` that it is made of."""
