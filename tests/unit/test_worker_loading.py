"""Modules that users name and that cannot be loaded: whose path counts, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.settings import Settings
from workers.app import import_modules, make_app


@pytest.mark.parametrize(("path", "told"), [(None, "was not set"), ("/srv/a:/srv/b", "was /srv/a:/srv/b")])
def test_a_module_that_is_not_found_is_told_with_the_path_of_the_agent(
    monkeypatch: pytest.MonkeyPatch, path: str | None, told: str
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    if path is not None:
        monkeypatch.setenv("PYTHONPATH", path)

    with pytest.raises(errors.InvalidConfig) as caught:
        import_modules(("no_such_module",))

    said = caught.value.message
    assert said.startswith("imports: the module 'no_such_module' cannot be imported (ModuleNotFoundError: ")
    assert f"the PYTHONPATH of the program that started their agent, which {told};" in said
    assert "'PYTHONPATH=DIRECTORY mahavishnu up'" in said


def test_an_application_that_is_not_found_is_told_alike() -> None:
    with pytest.raises(errors.InvalidConfig, match=r"^celery_app: the module 'no_such_shop' .* their agent"):
        make_app(Settings(), "redis://127.0.0.1:1/0", user_app="no_such_shop:app")


def test_a_module_that_is_found_and_fails_is_to_be_corrected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "module_that_fails.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(errors.InvalidConfig, match=r"\(ZeroDivisionError: division by zero\)\. Correct the module\.$"):
        import_modules(("module_that_fails",))
