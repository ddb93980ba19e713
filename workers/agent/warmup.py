"""Imports once, in the zygote, what every worker group needs: forked groups start at once and share the memory."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import logging
import threading
from importlib import resources

from mahavishnu_pools.store.calls import LIBRARIES, script

from .group_process import load_function

logger = logging.getLogger(__name__)

#: What Celery, kombu and redis-py import late, when a worker is started or a first connection is made.
MODULES = (
    "asyncio",
    "billiard.connection",
    "billiard.dummy",
    "billiard.pool",
    "billiard.reduction",
    "celery.app.amqp",
    "celery.app.control",
    "celery.app.events",
    "celery.app.log",
    "celery.apps.worker",
    "celery.backends.redis",
    "celery.concurrency.thread",
    "celery.events.dispatcher",
    "celery.events.state",
    "celery.fixups.django",
    "celery.worker",
    "celery.worker.autoscale",
    "celery.worker.components",
    "celery.worker.consumer",
    "celery.worker.consumer.agent",
    "celery.worker.consumer.delayed_delivery",
    "celery.worker.control",
    "celery.worker.pidbox",
    "celery.worker.strategy",
    "celery.worker.worker",
    "encodings.idna",
    "importlib.resources.readers",
    "kombu.transport.redis",
    "kombu.transport.virtual",
    "kombu.asynchronous.hub",
    "psutil",
    "pydantic_settings",
    "redis",
    "redis.asyncio",
    "mahavishnu_pools.store.client",
    "mahavishnu_pools.store.leases",
    "mahavishnu_pools.store.pools",
    "mahavishnu_pools.store.tasks",
    "mahavishnu_pools.task_types",
    "mahavishnu_pools.worker_types",
)


def warm_up(function: str) -> None:
    """Import all of it and the group's function, and keep the memory shared.

    A module of ours that cannot be imported is an error; groups would fail with it one by one.
    """
    for name in MODULES:
        importlib.import_module(name)
    load_function(function)
    _read_scripts()
    if threading.active_count() > 1:
        names = [thread.name for thread in threading.enumerate()]
        logger.warning("Imports started threads, which forked groups will not have: %s", names)
    keep_shared()


def keep_shared() -> None:
    """Have the garbage collector never look again at what there is: to look is to write, in each forked group."""
    gc.collect()
    gc.freeze()


def _read_scripts() -> None:
    """Have every script of the store read and kept, as each process does at its first use."""
    for file in resources.files("mahavishnu_pools.store").joinpath("lua").iterdir():
        name, dot, _ = file.name.partition(".lua")
        if dot and name not in LIBRARIES:
            script(name)
