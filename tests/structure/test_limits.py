"""Limits that keep the code readable; each list of exceptions must stay true and says why."""

from __future__ import annotations

import ast
import re

import pytest

from tests.structure.source_tree import ROOT, Module, length, modules, tracked_files

MODULE_LINES = 300
TEST_MODULE_LINES = 400
FUNCTION_LINES = 50
CLASS_LINES = 150
FILE_BYTES = 200_000

#: Classes that may be longer, up to 200 lines, and why.
LONGER_CLASSES: dict[str, str] = {"Settings": "a list of fields"}

#: Names that say nothing about a module's duty.
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "stuff", "tools"}

#: Places of the machine the project was written on; written in parts so that this file does not hold them.
MACHINE_PATHS = re.compile(r"(?<![\w.\-/])/(?:" + "|".join(["work", "root", "farm", "opt"]) + r")/[\w.]")


@pytest.fixture(scope="module")
def all_modules() -> tuple[Module, ...]:
    found = modules()
    if not found:
        pytest.skip("not a git checkout: nothing says which files belong to the project")
    return found


def test_modules_are_short(all_modules: tuple[Module, ...]) -> None:
    def limit(module: Module) -> int:
        return TEST_MODULE_LINES if module.is_test else MODULE_LINES

    sizes = {module.path: len(module.text.splitlines()) for module in all_modules}

    assert [f"{m.path}: {sizes[m.path]} lines" for m in all_modules if sizes[m.path] > limit(m)] == []


def test_every_exception_is_still_needed(all_modules: tuple[Module, ...]) -> None:
    long_classes = {node.name for module in all_modules for node in module.classes() if length(node) > CLASS_LINES}

    assert set(LONGER_CLASSES) <= long_classes


def test_functions_are_short(all_modules: tuple[Module, ...]) -> None:
    too_long = [
        f"{module.path}:{node.lineno}: {node.name} has {length(node)} lines"
        for module in all_modules
        for node in module.functions()
        if length(node) > FUNCTION_LINES
    ]

    assert too_long == []


def test_classes_are_short(all_modules: tuple[Module, ...]) -> None:
    too_long = [
        f"{module.path}:{node.lineno}: {node.name} has {length(node)} lines"
        for module in all_modules
        for node in module.classes()
        if length(node) > (200 if node.name in LONGER_CLASSES or module.is_test else CLASS_LINES)
    ]

    assert too_long == []


def test_no_error_is_swallowed(all_modules: tuple[Module, ...]) -> None:
    swallowed = [
        f"{module.path}:{node.lineno}"
        for module in all_modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler) and all(_does_nothing(statement) for statement in node.body)
    ]

    assert swallowed == [], "name the error and use contextlib.suppress, or handle it"


def test_nothing_is_left_unwritten(all_modules: tuple[Module, ...]) -> None:
    unwritten = [
        f"{module.path}:{node.lineno}"
        for module in all_modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Raise) and node.exc is not None and "NotImplementedError" in ast.unparse(node.exc)
    ]

    assert unwritten == []


def test_modules_are_named_for_their_duty(all_modules: tuple[Module, ...]) -> None:
    banned = [module.path for module in all_modules if BANNED_NAMES & {*re.split(r"[/.]", module.path)}]

    assert banned == []


def test_every_module_says_what_it_is_for(all_modules: tuple[Module, ...]) -> None:
    silent = [module.path for module in all_modules if not ast.get_docstring(module.tree)]

    assert silent == []


def test_every_module_postpones_its_annotations(all_modules: tuple[Module, ...]) -> None:
    missing = [
        module.path
        for module in all_modules
        if len(module.tree.body) > 1 and "from __future__ import annotations" not in module.text
    ]

    assert missing == []


def test_tests_wait_for_conditions_and_never_for_time(all_modules: tuple[Module, ...]) -> None:
    sleeping = [
        f"{module.path}:{call.lineno}"
        for module in all_modules
        for function in module.functions()
        if function.name.startswith("test_")
        for call in ast.walk(function)
        if isinstance(call, ast.Call)
        and ast.unparse(call.func) in {"time.sleep", "asyncio.sleep", "sleep"}
        and ast.unparse(call.args[0]) != "0"  # gives the others a turn, waits for nothing
    ]

    assert sleeping == [], "use tests.waiting.eventually"


def test_no_file_is_huge(all_modules: tuple[Module, ...]) -> None:
    assert [path for path in tracked_files() if (ROOT / path).stat().st_size > FILE_BYTES] == []


def test_no_file_names_a_place_on_one_machine(all_modules: tuple[Module, ...]) -> None:
    found = [
        f"{path}:{number}: {line.strip()[:80]}"
        for path in tracked_files()
        for number, line in enumerate((ROOT / path).read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if MACHINE_PATHS.search(line)
    ]

    assert found == []


def _does_nothing(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Pass) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    )
