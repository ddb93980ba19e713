"""The Celery side of Redis: messages, publishing, results, settings."""
