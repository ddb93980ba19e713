"""A shop with a web page and Celery tasks: what was there before pools, and the lines that pools took."""
