"""What one room calls of another says what it does: each such name has a docstring.

Found by parsing: functions and classes that another room imports, by name or through their module,
and public methods and properties of those classes whose names another room uses.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import local_ai_suite.errors
from local_ai_suite.errors import SuiteError

PACKAGE = Path(__file__).parents[1] / "src" / "local_ai_suite"
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def room(module: str) -> str:
    return module.split(".", maxsplit=1)[0]


PATHS = {module_name(path): path for path in PACKAGE.rglob("*.py")}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(PATHS[module].read_text(encoding="utf-8"))


def imports(module: str) -> list[tuple[str, str, str]]:
    """(module of ours that is imported from, name there, name here)."""
    own = module.split(".")
    package = own if PATHS[module].name == "__init__.py" else own[:-1]
    found = []
    for node in ast.walk(tree(module)):
        if not isinstance(node, ast.ImportFrom):
            continue
        if node.level:
            base = [*package[: len(package) - node.level + 1], *filter(None, [node.module])]
        elif (node.module or "").partition(".")[0] == "local_ai_suite":
            base = (node.module or "").split(".")[1:]
        else:
            continue
        found += [(".".join(base), alias.name, alias.asname or alias.name) for alias in node.names]
    return found


def defined(module: str, name: str) -> tuple[str, Definition] | None:
    """Where ``name`` of ``module`` is defined, through what packages hand on; ``None``: no
    function or class, or not ours."""
    if module not in PATHS:
        return None
    for node in tree(module).body:
        if isinstance(node, Definition) and node.name == name:
            return module, node
    for base, there, here in imports(module):
        if here == name and base != module:
            return defined(base, there)
    return None


def crossings() -> dict[tuple[str, str], Definition]:
    """(module, name) of each function or class that another room imports."""
    found: dict[tuple[str, str], Definition] = {}
    for user in PATHS:
        names = imports(user)
        modules = {
            here: f"{base}.{there}".lstrip(".")
            for base, there, here in names
            if f"{base}.{there}".lstrip(".") in PATHS
        }
        wanted = [(base, there) for base, there, _ in names]
        wanted += [
            (modules[node.value.id], node.attr)
            for node in ast.walk(tree(user))
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in modules
        ]
        for module, name in wanted:
            place = defined(module, name)
            if place is not None and room(place[0]) != room(user) and not name.startswith("_"):
                found[place[0], name] = place[1]
    return found


def attributes_by_name() -> dict[str, set[str]]:
    """Attribute name -> the rooms that use it."""
    rooms: dict[str, set[str]] = {}
    for module in PATHS:
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.Attribute):
                rooms.setdefault(node.attr, set()).add(room(module))
    return rooms


def test_what_another_room_calls_has_a_docstring() -> None:
    used = attributes_by_name()
    without = []
    found = crossings()
    for (module, name), node in found.items():
        if not ast.get_docstring(node):
            without.append(f"{module}.{name}")
        for inner in node.body if isinstance(node, ast.ClassDef) else []:
            if not isinstance(inner, Definition) or inner.name.startswith("_"):
                continue
            if used.get(inner.name, set()) - {room(module)} and not ast.get_docstring(inner):
                without.append(f"{module}.{name}.{inner.name}")
    assert len(found) > 200, "the search finds what crosses"
    assert sorted(without) == []


def test_the_tree_drawn_in_errors_is_the_tree_that_is_there() -> None:
    lines = (local_ai_suite.errors.__doc__ or "").splitlines()
    drawn: dict[str, str] = {}
    above = ["SuiteError"]
    for line in lines:
        if "── " not in line:
            continue
        depth = line.index("── ") // 4
        name = line.partition("── ")[2].split()[0]
        above[depth:] = [name]
        drawn[name] = above[depth - 1]
    real = {
        value.__name__: value.__base__.__name__
        for value in vars(local_ai_suite.errors).values()
        if isinstance(value, type) and issubclass(value, SuiteError) and value is not SuiteError
    }
    assert drawn == real
