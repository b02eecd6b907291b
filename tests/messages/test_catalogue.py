"""Every text that a person reads has its Korean, and nothing else stands in the catalogue."""

from __future__ import annotations

import ast
import re
import string
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

PROJECT = Path(__file__).parents[2]
PACKAGE = PROJECT / "src" / "local_ai_suite"
sys.path.insert(0, str(PROJECT / "tools"))

import messages  # noqa: E402  (tools/messages.py)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from babel.messages.catalog import Catalog


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def wanted() -> tuple[messages.Message, ...]:
    return tuple(messages.texts())


MAKE = "run `make messages`, and write the Korean into local_ai_suite.po"


@pytest.fixture(scope="module")
def korean() -> Catalog:
    return messages.read("ko")


def first(text: messages.Message) -> str:
    return text if isinstance(text, str) else text[0]


def strings(catalog: Catalog) -> dict[str, str]:
    """Each text's first form, and its translation."""
    return {
        first(m.id): m.string if isinstance(m.string, str) else "".join(m.string)
        for m in catalog
        if m.id
    }


def test_every_text_is_in_korean_and_every_translation_has_its_text(korean: Catalog) -> None:
    there, texts = strings(korean), {first(text) for text in wanted()}
    assert texts - there.keys() == set(), MAKE
    assert there.keys() - texts == set(), MAKE
    assert [text for text, translation in there.items() if not translation] == [], MAKE
    assert not any(message.fuzzy for message in korean)


def placeholders(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def test_a_translation_has_the_placeholders_of_its_text(korean: Catalog) -> None:
    differing = [
        message.id
        for message in korean
        if message.id
        and "{" in str(message.id)
        and placeholders(message.id if isinstance(message.id, str) else message.id[-1])
        != placeholders(strings_of(message.string))
    ]
    assert differing == []


def strings_of(translation: str | tuple[str, ...]) -> str:
    return translation if isinstance(translation, str) else translation[0]


def test_a_translation_begins_and_ends_with_the_blanks_of_its_text(korean: Catalog) -> None:
    """Lines, and what is put together, come out as in English."""
    assert [
        text
        for text, translation in strings(korean).items()
        if text.count("\n\n") != translation.count("\n\n")
        or text.startswith("\n") != translation.startswith("\n")
        or text.endswith("\n") != translation.endswith("\n")
    ] == []


def test_the_files_are_what_make_messages_writes(korean: Catalog) -> None:
    made = messages.brought_up_to_date(korean)
    assert messages.file("ko", "po").read_bytes() == messages.as_po(made), MAKE
    assert messages.file("ko", "mo").read_bytes() == messages.as_mo(made), MAKE


# Where a text goes to a person -------------------------------------------------------------------

MARKS = {"tr", "say", "counted", "joined", "translated"}
# What is raised here answers HTTP requests, in English; a terminal hears of it as a refusal.
OVER_HTTP = ("wire/", "gateway/", "engine/", "templates/", "demo/")
TOLD_BY_A_TERMINAL = ("gateway/config.py", "gateway/keys.py")

MODULES = [
    path
    for path in sorted(PACKAGE.rglob("*.py"))
    if not (name := path.relative_to(PACKAGE).as_posix()).startswith(OVER_HTTP)
    or name in TOLD_BY_A_TERMINAL
]


def error_classes() -> set[str]:
    """The names of all subclasses of SuiteError, from the source."""
    found = {"SuiteError"}
    classes = [
        node
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ClassDef)
    ]
    for _ in range(4):  # the tree's depth
        for node in classes:
            if any(isinstance(base, ast.Name) and base.id in found for base in node.bases):
                found.add(node.name)
    return found


ERRORS = error_classes()


def called(node: ast.Call) -> str:
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def shown(node: ast.Call, path: Path) -> Iterator[ast.expr]:
    """The arguments of a call that a person will read."""
    name = called(node)
    if name in ERRORS:
        yield from node.args[:1]
        yield from (word.value for word in node.keywords if word.arg == "hint")
    elif name in {"echo", "secho", "confirm", "prompt"} and path.parent.name == "cli":
        yield from node.args[:1]
    elif name in {"ok", "warning", "failure", "grade"} and path.parent.name == "doctor":
        yield from node.args[1:3]
    elif name == "Result":
        yield from node.args[1:2]
    elif (name in {"note", "warn"} and path.parent.name == "cli") or (
        name == "report" and isinstance(node.func, ast.Name)
    ):
        yield from node.args[:1]


def parts(node: ast.expr) -> list[ast.expr]:
    """The expressions of which the text of ``node`` is put together."""
    match node:
        case ast.JoinedStr(values=values) | ast.BoolOp(values=values):
            return values
        case ast.List(elts=values) | ast.Tuple(elts=values):
            return values
        case ast.FormattedValue(value=value):
            return [value]
        case ast.GeneratorExp(elt=value) | ast.ListComp(elt=value):
            return [value]
        case ast.BinOp(left=left, right=right) | ast.IfExp(body=left, orelse=right):
            return [left, right]
        case ast.Call(args=values) if called(node) == "join":
            return values
    return []


def unmarked(node: ast.expr, constants: dict[str, ast.expr]) -> Iterator[ast.expr]:
    """Literals with words in ``node`` that go to the person as they are."""
    if isinstance(node, ast.Name) and node.id in constants:
        yield from unmarked(constants[node.id], {})
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, str) and re.search(r"[A-Za-z]{2}", node.value):
            yield node
    else:
        for part in parts(node):
            yield from unmarked(part, constants)


def constants_of(tree: ast.Module) -> dict[str, ast.expr]:
    return {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_what_a_person_reads_is_marked(path: Path) -> None:
    tree = parsed(path)
    constants = constants_of(tree)
    found = [
        f"{path.name}:{literal.lineno}: {ast.unparse(literal)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for argument in shown(node, path)
        for literal in unmarked(argument, constants)
    ]
    assert found == [], "put it into tr(...), or say(...) where it is printed at once"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_a_marked_text_is_a_literal_and_its_values_are_named(path: Path) -> None:
    """A tool reads templates from the source; another language may want another order."""
    for node in ast.walk(parsed(path)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        if node.func.id not in {"tr", "say"} or path.parent.name == "messages":
            continue
        [template] = node.args
        assert isinstance(template, ast.Constant), f"{path.name}:{node.lineno}"
        assert isinstance(template.value, str)
        if node.keywords:
            names = {word.arg for word in node.keywords}
            nested = set(re.findall(r"\{(\w+)\}", "".join(specifications(template.value))))
            assert placeholders(template.value) | nested == names, f"{path.name}:{node.lineno}"


def specifications(template: str) -> Iterator[str]:
    for _, _, specification, _ in string.Formatter().parse(template):
        yield specification or ""


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_nothing_is_said_while_a_module_is_imported(path: Path) -> None:
    """``say`` is for now; a constant is made with ``tr``, before a language is chosen."""
    tree = parsed(path)
    functions = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    ]
    inside = {id(node) for function in functions for node in ast.walk(function)}
    assert not [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and called(node) in {"say", "translated"}
        and id(node) not in inside
    ]


def not_for_people(tree: ast.Module) -> Iterator[ast.AST]:
    """Docstrings, annotations, log lines, a result's name, and what click shows (its help pages
    are looked up as a whole)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if isinstance(node.body[0], ast.Expr):
                yield node.body[0]
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns:
                yield node.returns
        elif isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
            yield node.annotation
        elif isinstance(node, ast.Call):
            owner = node.func.value if isinstance(node.func, ast.Attribute) else None
            if called(node) in {"tr", "say", "counted", "Result"}:
                yield from node.args[: 2 if called(node) == "counted" else 1]
            elif isinstance(owner, ast.Name) and owner.id == "log":
                yield node
            elif isinstance(owner, ast.Name) and owner.id == "click":
                yield from (word.value for word in node.keywords)


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if path.parent.name in {"cli", "doctor"}],
    ids=lambda p: p.relative_to(PACKAGE).as_posix(),
)
def test_the_rooms_that_speak_have_no_other_sentences(path: Path) -> None:
    """Two small words side by side are a sentence; a command begins with the program's name."""
    tree = parsed(path)
    known = {id(inner) for node in not_for_people(tree) for inner in ast.walk(node)}
    assert [
        f"{path.name}:{node.lineno}: {node.value}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in known
        and re.search(r"[a-z]{2,},? [a-z]{2,}", node.value)
        and not node.value.startswith("lais ")
    ] == []
