"""Nothing that holds a secret shows it when it is printed, and nothing reads what could run code."""

from __future__ import annotations

import ast
import re

from tests.structure.source_tree import Module, modules

#: Fields that hold, or may hold, a secret.
SECRET_FIELD = re.compile(r"(^|_)(password|secrets?|redis_url|env|variables|login)$")

#: Fields of that name that hold names, never values.
NAMES_ONLY = {"workers/executors/container_argv.py"}

#: Modules that run code from data.
READERS_OF_CODE = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "jsonpickle"}


def source() -> tuple[Module, ...]:
    return modules("mahavishnu_pools/", "workers/")


def test_dataclasses_do_not_show_what_may_be_secret() -> None:
    shown = [
        f"{module.path}:{field.lineno}: {cls.name}.{field.target.id}"
        for module in source()
        if module.path not in NAMES_ONLY
        for cls in module.classes()
        if any("dataclass" in ast.unparse(one) for one in cls.decorator_list)
        for field in cls.body
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and SECRET_FIELD.search(field.target.id)
        and "repr=False" not in ast.unparse(field)
    ]

    assert shown == []


def test_nothing_that_runs_code_from_data_is_imported() -> None:
    found = [
        f"{module.path}:{node.lineno}"
        for module in source()
        for node in ast.walk(module.tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in (*(alias.name for alias in node.names), getattr(node, "module", None) or "")
        if name.split(".")[0] in READERS_OF_CODE
    ]

    assert found == []


def test_celery_takes_and_sends_json_only() -> None:
    from mahavishnu_pools.broker.celery_settings import celery_settings
    from mahavishnu_pools.routing.celery_app import make_app
    from mahavishnu_pools.settings import Settings

    made = celery_settings(Settings(), "redis://127.0.0.1:1/0")
    app = make_app(Settings(), "redis://127.0.0.1:1/0")

    assert (made["task_serializer"], made["result_serializer"], made["accept_content"]) == ("json", "json", ["json"])
    assert app.conf.result_accept_content in (None, ["json"])
    assert app.conf.event_serializer == "json"
    assert app.conf.task_always_eager is False
    app.close()
