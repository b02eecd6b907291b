"""Every error code: of the classes of errors, and of the refusals that HTTP services write."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import local_ai_suite
from local_ai_suite.errors import SuiteError

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(local_ai_suite.__file__).parent
_SERVERS = ("wire", "gateway", "engine")
_SNAKE = re.compile(r"[a-z]+(_[a-z]+)+")
_DOCTOR = PACKAGE / "doctor"


@dataclass(frozen=True)
class Code:
    """One code: the exit code of a command that ends with it, the HTTP status of an answer."""

    name: str
    exit_code: int | None
    http_status: int | None


def codes() -> dict[str, Code]:
    """All of them by exit code and name, then those of HTTP services alone by status and name."""
    found: dict[str, Code] = {}
    for kind in _classes():
        found.setdefault(kind.code, Code(kind.code, kind.exit_code, kind.http_status))
    for room in _SERVERS:
        for path in sorted((PACKAGE / room).rglob("*.py")):
            for name, status in _refusals(ast.parse(path.read_text(encoding="utf-8"))):
                found.setdefault(name, Code(name, None, status))
    return {code.name: code for code in sorted(found.values(), key=_place)}


def _place(code: Code) -> tuple[bool, int, str]:
    return code.exit_code is None, code.exit_code or code.http_status or 0, code.name


def checks() -> list[str]:
    """The names of the doctor's checks, as its modules give them, in alphabetical order."""
    names = set()
    for path in _DOCTOR.glob("*.py"):
        for call in _calls(ast.parse(path.read_text(encoding="utf-8"))):
            called = call.func.id if isinstance(call.func, ast.Name) else ""
            if called in {"ok", "warning", "failure", "grade"} and call.args:
                first = call.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    names.add(first.value)
    return sorted(names)


def _classes() -> Iterator[type[SuiteError]]:
    """The tree, each branch before the next, with every module imported that may add to it.

    In the order of module and name: ``__subclasses__`` has that of the imports so far.
    """
    for module in pkgutil.walk_packages(local_ai_suite.__path__, "local_ai_suite."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    waiting: list[type[SuiteError]] = [SuiteError]
    while waiting:
        kind = waiting.pop(0)
        kinds = sorted(kind.__subclasses__(), key=lambda one: (one.__module__, one.__name__))
        waiting = [*kinds, *waiting]
        if kind is not SuiteError and kind.__module__.startswith("local_ai_suite."):
            yield kind


def _refusals(tree: ast.Module) -> Iterator[tuple[str, int | None]]:
    """Codes beside a status in one call, and those that are given as ``code=``."""
    for call in _calls(tree):
        constants = [arg.value for arg in call.args if isinstance(arg, ast.Constant)]
        status = next((c for c in constants if isinstance(c, int) and 400 <= c < 600), None)
        given = [
            word.value.value
            for word in call.keywords
            if word.arg == "code" and isinstance(word.value, ast.Constant)
        ]
        beside = [c for c in constants if status is not None and isinstance(c, str)]
        for name in [*given, *beside]:
            if isinstance(name, str) and _SNAKE.fullmatch(name):
                yield name, status


def _calls(tree: ast.Module) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))
