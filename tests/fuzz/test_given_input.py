"""What users and other programs give: options, bus messages, task specifications, YAML files, secrets, URLs."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from mahavishnu_pools import errors
from mahavishnu_pools.cli.task_input import TaskInput, environment, json_object
from mahavishnu_pools.redis_url import mask_url
from mahavishnu_pools.routing.task_input import task_spec
from mahavishnu_pools.schemas.message import Message, parse_message
from mahavishnu_pools.schemas.pool import PoolConfig
from mahavishnu_pools.schemas.task import TaskSpec
from mahavishnu_pools.settings import Settings, load_settings
from mahavishnu_pools.worker_types import WorkerType, load_worker_types
from tests.fuzz.material import deep, fuzz, json_texts, mapping_of, texts, values
from workers.executors.environment import read_secrets
from workers.executors.interface import Refused

SPEC_FIELDS = tuple(TaskSpec.model_fields)

MESSAGE_FIELDS = (*Message.model_fields, "task")

#: YAML: what people write, what they nearly write, and what parsers stumble over.
yaml_texts = (
    values.map(lambda value: yaml.safe_dump(value, allow_unicode=True))
    | json_texts
    | st.sampled_from(
        [
            "a: 2001-99-99",
            "? [1, 2]\n: 3",
            "{[]: 1}",
            "a: !!python/object/apply:os.system [id]",
            "a: !!binary '*'",
            "a: !!int x",
            "a: !!float x",
            "a: &a [*a]",
            "&a {*a : 1}",
            "a: !!timestamp x",
            "1: 2",
            "null: 1",
            "a: 0b2",
            "x: " + "9" * 5000,
            "<<: 1",
            "<<: [1]",
            "\n".join(["a: &a0 [x]", *(f"b{n}: &a{n} [" + f"*a{n - 1}," * 9 + "]" for n in range(1, 12))]),
            "- " * 5000,
            "\n".join(" " * n + "a:" for n in range(500)),
        ]
    )
)


worker_types_texts = st.dictionaries(texts, mapping_of(*WorkerType.model_fields)).map(yaml.safe_dump)


@fuzz
@given(json_texts)
@example("@~nobody-here/x")
@example("@\0")
@example("@" + "x" * 5000)
@example("@/")
def test_a_json_option_gives_an_object_or_one_of_our_errors(text: str) -> None:
    if text == "-":
        return  # standard input
    with contextlib.suppress(errors.InvalidField):
        assert isinstance(json_object(text, option="--payload"), dict)


@fuzz
@given(texts, texts | json_texts, st.lists(texts, max_size=3))
def test_task_options_give_a_task_or_one_of_our_errors(prompt: str, payload: str, env: list[str]) -> None:
    for one, other in ((prompt, None), (None, payload), (prompt, payload)):
        if "-" in (one, other):
            continue
        given_ = TaskInput(one, "shell" if other else None, other, None, None, None, None, tuple(env), None, None, True)
        with contextlib.suppress(errors.InvalidInput):
            assert isinstance(given_.task(directory=lambda: None), dict)


@fuzz
@given(st.lists(texts, max_size=5))
def test_environment_options_give_pairs_or_one_of_our_errors(entries: list[str]) -> None:
    with contextlib.suppress(errors.InvalidField):
        assert len(environment(entries)) <= len(entries)


@fuzz
@given(mapping_of(*SPEC_FIELDS))
def test_a_task_is_a_specification_or_one_of_our_errors(fields: dict[str, Any]) -> None:
    with contextlib.suppress(errors.InvalidInput):
        assert isinstance(task_spec(fields), TaskSpec)


@fuzz
@given(mapping_of(*PoolConfig.model_fields))
def test_a_pools_configuration_is_one_or_a_validation_error(fields: dict[str, Any]) -> None:
    with contextlib.suppress(ValidationError):
        assert PoolConfig.model_validate({"name": "p", **fields}).name


@fuzz
@given(mapping_of(*MESSAGE_FIELDS) | values, st.booleans())
@example({"type": "heartbeat", "source_pool_id": "p", "payload": {"a": "\ud800"}}, False)
def test_a_bus_message_is_one_or_one_of_our_errors(given_: Any, delegate: bool) -> None:
    if delegate and isinstance(given_, dict):
        given_ = {**given_, "type": "task_delegate", "source_pool_id": "a", "target_pool_id": "b"}
    with contextlib.suppress(errors.InvalidField, errors.UnknownChoice):
        assert isinstance(parse_message(given_), Message)


def test_a_message_that_holds_itself_is_refused() -> None:
    loop: dict[str, Any] = {"type": "heartbeat", "source_pool_id": "p"}
    loop["payload"] = {"loop": loop}

    with pytest.raises(errors.InvalidField):
        parse_message(loop)


@fuzz
@given(yaml_texts | st.binary(max_size=60))
@example("a: " + "[" * 5000)
@example("{" * 3000)
def test_a_settings_file_gives_settings_or_an_invalid_config(tmp_path: Path, content: str | bytes) -> None:
    file = written(tmp_path, content)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(), contextlib.suppress(errors.InvalidConfig):
        warnings.simplefilter("ignore")
        patch.setenv("MAHAVISHNU_SETTINGS_FILE", str(file))
        assert isinstance(load_settings(), Settings)


@fuzz
@given(st.sampled_from(sorted(Settings.model_fields)), values)
def test_a_setting_in_the_file_is_taken_or_an_invalid_config(tmp_path: Path, name: str, value: Any) -> None:
    file = written(tmp_path, yaml.safe_dump({name: value}))
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("MAHAVISHNU_SETTINGS_FILE", str(file))
        with contextlib.suppress(errors.InvalidConfig):
            assert isinstance(load_settings(), Settings)


@fuzz
@given(st.sampled_from(sorted(Settings.model_fields)), texts.filter(lambda text: "\0" not in text) | json_texts)
@example("imports", "[" * 5000)
def test_a_setting_in_the_environment_is_taken_or_an_invalid_config(name: str, value: str) -> None:
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(errors.InvalidConfig):
        try:
            patch.setenv(f"MAHAVISHNU_{name.upper()}", value)
        except (ValueError, OSError, UnicodeError):
            return  # cannot be in an environment
        load_settings()


@fuzz
@given(yaml_texts | st.binary(max_size=60) | worker_types_texts)
@example("x: " + "[" * 5000)
def test_a_worker_types_file_gives_types_or_an_invalid_config(tmp_path: Path, content: str | bytes) -> None:
    file = written(tmp_path, content)
    with contextlib.suppress(errors.InvalidConfig):
        assert "shell" in load_worker_types(file)


@fuzz
@given(st.binary(max_size=200) | json_texts.map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_a_secrets_file_gives_pairs_or_is_refused(tmp_path: Path, content: bytes) -> None:
    file = written(tmp_path, content)
    file.chmod(0o600)
    with contextlib.suppress(Refused):
        assert isinstance(read_secrets(file), dict)


PASSWORD = "hunter2-the-password"


@fuzz
@given(
    st.sampled_from(
        [
            "redis://:{}@host:6379/0",
            "rediss://user:{}@host",
            "redis://user:a@{}@host/0",
            "redis://host/0?password={}",
            "redis://host/0?db=1&password={}&x=2",
            "unix://:{}@/tmp/s.sock?db=1",
            "unix:///tmp/s.sock?password={}",
            "sentinel://user:{}@a:1,b:2/service",
            "sentinel://a:1,b:2/service?sentinel_username=u&sentinel_password={}",
            "rediss://host?ssl_password={}",
        ]
    ),
    texts,
)
def test_no_form_of_a_url_shows_its_password(form: str, before: str) -> None:
    assert PASSWORD not in mask_url(form.format(PASSWORD))
    mask_url(before + form)


@fuzz
@given(deep)
def test_depth_ends_nothing(text: str) -> None:
    with contextlib.suppress(errors.InvalidField):
        json_object(text, option="--payload")


def written(directory: Path, content: str | bytes) -> Path:
    file = directory / "fuzzed"
    file.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return file
