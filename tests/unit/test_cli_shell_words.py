"""Commands that no shell reads, and what is said when they look as if one did."""

from __future__ import annotations

from typing import Any

import pytest

from mahavishnu_pools.cli.shell_words import warn_of_shell_words
from mahavishnu_pools.cli.task_input import TaskInput


def said(capsys: pytest.CaptureFixture[str], *payloads: object, task_type: str = "shell") -> str:
    warn_of_shell_words([{"task_type": task_type, "payload": payload} for payload in payloads])
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("cd here && make", "&&"),
        ("echo one; exit 2", ";"),
        ("make | tee log", "|"),
        ("make > log", ">"),
        ("make 2>&1", "2>&1"),
        ("make 2>/dev/null", "2>/dev/null"),
        ("echo $HOME", "$HOME"),
        ("echo $(date)", "$("),
    ],
)
def test_a_word_that_only_a_shell_understands_is_named(
    capsys: pytest.CaptureFixture[str], command: str, word: str
) -> None:
    warning = said(capsys, {"command": command})

    assert f"no shell reads this command: {word!r}" in warning
    assert '"shell": true' in warning
    assert said(capsys, {"command": command}, task_type="container") == warning
    assert said(capsys, {"command": command, "shell": True}) == ""
    assert said(capsys, {"command": ["sh", "-c", command]}) == ""
    assert said(capsys, {"command": command}, task_type="mine") == ""


@pytest.mark.parametrize(
    "command",
    [
        "make test",
        "grep 'a | b' file",
        'sed "s;a;b;" file',
        r"find . -exec ls {} \;",
        "awk '{print $1}' file",
        "curl http://host/?a=1&b=2",
        "python -c 'x = 1; print(x)'",
    ],
)
def test_what_a_shell_would_leave_alone_is_no_cause_for_a_warning(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert said(capsys, {"command": command}) == ""


def test_many_tasks_get_one_warning(capsys: pytest.CaptureFixture[str]) -> None:
    warning = said(capsys, {"command": "make"}, {"command": "a && b"}, {"command": "c; d"}, {"command": 5}, "odd", None)

    assert warning.count("Warning") == 1
    assert "the commands of 2 tasks: '&&'" in warning


def test_the_payload_of_an_option_is_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    options: dict[str, Any] = dict.fromkeys(TaskInput.__dataclass_fields__)
    options |= {"task_type": "shell", "payload": '{"command": "a && b"}', "env": (), "no_wait": False}

    assert TaskInput(**options).task(directory=lambda: None)["payload"] == {"command": "a && b"}
    assert "no shell reads this command: '&&'" in capsys.readouterr().err
