"""Errors: what they say, what they carry, and that they survive Celery and pickling."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from mahavishnu_pools import errors

ALL_ERRORS = [
    value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, errors.MahavishnuError)
]

EXAMPLES = [
    errors.InvalidField.of("timeout", "must be greater than 0", "Give seconds, for example 300."),
    errors.UnknownChoice.of("pool type", "nope", ["session-buddy", "mahavishnu"]),
    errors.MissingProgram.of("terminal-qwen", "qwen", "npm install -g @qwen-code/qwen-code"),
    errors.PayloadTooLarge.of(2_000_000, 1_048_576),
    errors.PoolConflict.of("local", ["max_workers", "region"]),
    errors.ScaleOutOfRange.of(20, 1, 10),
    errors.PoolsDisabled(),
    errors.PoolNotFound.of("nowhere", ["local", "backup"]),
    errors.PoolGone.of("pool_0123456789ab"),
    errors.TaskNotFound.of("task_0123456789abcdef"),
    errors.BatchNotFound.of("batch_0123456789ab"),
    errors.NoPoolAvailable.of({"local": "paused"}),
    errors.StackNotRunning(),
    errors.ManagerClosed(),
    errors.WaitTimeout.of("The outcome", 2.5),
]


@pytest.mark.parametrize("cls", ALL_ERRORS, ids=lambda cls: cls.__name__)
def test_every_error_can_be_rebuilt_from_its_message_as_celery_does(cls: type[errors.MahavishnuError]) -> None:
    assert str(cls("it is broken")) == "it is broken"


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [cls.code for cls in ALL_ERRORS]

    assert sorted(codes) == sorted(set(codes))


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))], ids=["copy", "pickle"])
def test_a_copied_error_keeps_type_message_and_details(error: errors.MahavishnuError, again: object) -> None:
    assert callable(again)

    other = again(error)

    assert (type(other), str(other), other.details()) == (type(error), str(error), error.details())


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_a_message_is_made_of_full_sentences(error: errors.MahavishnuError) -> None:
    assert "None" not in error.message
    assert len(error.message.split()) >= 5


def test_details_are_attributes_too() -> None:
    error = errors.ScaleOutOfRange.of(20, 1, 10)

    assert (error.target, error.min_workers, error.max_workers) == (20, 1, 10)
    with pytest.raises(AttributeError):
        _ = error.nothing_of_the_kind


def test_details_cannot_be_changed_from_outside() -> None:
    error = errors.PoolGone.of("local")

    error.details()["pool"] = "other"

    assert error.details() == {"pool": "local"}


@pytest.mark.parametrize(
    ("error", "area"),
    [
        (errors.ScaleOutOfRange.of(20, 1, 10), errors.InvalidInput),
        (errors.PoolsDisabled(), errors.InvalidInput),
        (errors.NoPoolAvailable.of({}), errors.NotFound),
        (errors.TaskNotFound.of("task_1"), errors.NotFound),
        (errors.StackNotRunning(), errors.Unavailable),
        (errors.TaskDead("given up"), errors.TaskOutcomeError),
    ],
)
def test_an_error_belongs_to_an_area(error: errors.MahavishnuError, area: type[errors.MahavishnuError]) -> None:
    assert isinstance(error, area)


def test_an_unknown_choice_names_what_exists_in_order() -> None:
    error = errors.UnknownChoice.of("routing strategy", "fastest", ["random", "affinity"])

    assert str(error) == "Unknown routing strategy 'fastest'. Use one of: affinity, random."


def test_an_unknown_choice_without_any_registered_says_so() -> None:
    assert str(errors.UnknownChoice.of("reducer", "x", [])) == "Unknown reducer 'x'. Use one of: none is registered."


def test_scaling_too_high_offers_the_limit_that_would_do() -> None:
    error = errors.ScaleOutOfRange.of(20, 1, 10)

    assert "may have 1 to 10" in str(error)
    assert "max_workers=20" in str(error)


def test_scaling_too_low_says_the_limits_and_offers_no_other_maximum() -> None:
    error = errors.ScaleOutOfRange.of(1, 2, 10)

    assert "may have 2 to 10" in str(error)
    assert "Give 2 or more" in str(error)
    assert "max_workers" not in str(error)


def test_a_pool_that_is_not_there_is_told_apart_from_no_pool_at_all() -> None:
    assert "Pools that exist: backup, local." in str(errors.PoolNotFound.of("x", ["local", "backup"]))
    assert "No pool exists yet." in str(errors.PoolNotFound.of("x", []))
    assert "No pool exists" not in str(errors.PoolNotFound.of("x"))


def test_no_pool_available_gives_every_pools_reason() -> None:
    error = errors.NoPoolAvailable.of({"b": "paused", "a": "no claude"})

    assert "a: no claude; b: paused" in str(error)
    assert error.reasons == {"b": "paused", "a": "no claude"}


def test_no_pool_available_without_pools_says_how_to_make_one() -> None:
    assert "mahavishnu pools spawn" in str(errors.NoPoolAvailable.of({}))


def test_a_long_list_of_reasons_is_cut_in_the_message_only() -> None:
    reasons = {f"pool-{number:03}": "paused" for number in range(100)}

    error = errors.NoPoolAvailable.of(reasons)

    assert "pool-019" in str(error)
    assert "pool-020" not in str(error)
    assert error.reasons == reasons


def test_a_long_name_is_cut_in_the_message_only() -> None:
    name = "x" * 500

    for error in (errors.PoolNotFound.of(name, ["a"]), errors.PoolGone.of(name), errors.TaskNotFound.of(name)):
        assert "… (500 characters)" in str(error)
        assert len(str(error)) < 300
        assert name in error.details().values()


def test_a_pool_that_is_not_there_is_told_with_near_names_first() -> None:
    error = errors.PoolNotFound.of("locl", ["backup", "local"])

    assert "Did you mean 'local'? Pools that exist: backup, local." in str(error)
