"""The example of a settings file has every setting, its default and what it means."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import yaml

from mahavishnu_pools.settings import Settings, load_settings
from tests.docs import example_settings


def test_the_example_is_what_the_document_and_the_settings_say() -> None:
    assert example_settings.FILE.read_text(encoding="utf-8") == example_settings.text()


def test_the_example_as_it_stands_changes_nothing() -> None:
    assert yaml.safe_load(example_settings.FILE.read_text(encoding="utf-8")) is None


def test_every_setting_of_the_example_loads_with_its_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    defaults = load_settings()
    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump(example_settings.uncommented()))
    monkeypatch.setenv("MAHAVISHNU_SETTINGS_FILE", str(path))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load_settings()

    assert set(example_settings.uncommented()) == set(Settings.model_fields)
    assert loaded.model_copy(update={"data_dir": defaults.data_dir}) == defaults
