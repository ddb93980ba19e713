"""Celery settings for ``celery`` commands in a checkout or image, computed from the project's own settings."""

from __future__ import annotations

from mahavishnu_pools.broker.celery_settings import celery_settings
from mahavishnu_pools.celery import url_of
from mahavishnu_pools.settings import load_settings

_settings = load_settings()
globals().update(celery_settings(_settings, url_of(_settings)))
