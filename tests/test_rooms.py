"""The rooms of the house: who may import whom, and how large a module may grow."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "local_ai_suite"
TESTS = Path(__file__).parent
MOST_LINES = 500

FLOORS = {
    0: {"__init__", "errors", "messages", "paths", "result", "log", "process", "wire"},
    1: {"settings"},
    2: {"hardware", "gguf", "fit", "catalog", "engines", "repository", "demo", "templates"},
    3: {"engine", "gateway", "stack", "doctor"},
    4: {"client", "models", "chat", "issues", "connect", "bench", "rag", "mcp", "approvals"},
    5: {"cli", "__main__"},
}
# Floor 4 may reach these two of its own floor.
SHARED_ON_FLOOR_4 = {"client", "approvals"}

MODULES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def room_and_floor(module: str) -> tuple[str, int]:
    """The most specific entry of FLOORS that names ``module`` or a package around it."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        for floor, names in FLOORS.items():
            if name in names:
                return parts[0], floor
    pytest.fail(f"module {module} belongs to no floor: name its room in FLOORS")


def imports(path: Path) -> set[str]:
    """Modules of this package that ``path`` imports, relative to the package."""
    found: set[str] = set()
    module = module_name(path)
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    if path == PACKAGE / "__init__.py":
        package = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = ["local_ai_suite", *package[: len(package) - node.level + 1]]
                prefix = ".".join(base + ([node.module] if node.module else []))
            else:
                prefix = node.module or ""
            names = [f"{prefix}.{alias.name}" for alias in node.names]
        for name in names:
            if name.startswith("local_ai_suite."):
                found.add(resolve(name.removeprefix("local_ai_suite.")))
    return found - {module}


def resolve(name: str) -> str:
    """``fit.planner.FitPlan`` becomes ``fit.planner``."""
    parts = name.split(".")
    while parts:
        base = PACKAGE.joinpath(*parts)
        if base.with_suffix(".py").is_file() or (base / "__init__.py").is_file():
            return ".".join(parts)
        parts.pop()
    return "__init__"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_go_down_never_up_and_never_sideways_on_floor_four(path: Path) -> None:
    module = module_name(path)
    room, floor = room_and_floor(module)
    for target in imports(path):
        other, other_floor = room_and_floor(target)
        if other == room:
            continue
        assert other_floor <= floor, f"{module} (floor {floor}) imports {target} ({other_floor})"
        if floor == 4 and other_floor == 4:
            assert other in SHARED_ON_FLOOR_4, f"{module} imports its neighbour {target}"
        if floor == 4:
            assert other_floor != 3, f"{module} reaches into the running things: {target}"


def test_no_import_cycles() -> None:
    graph = {module_name(path): imports(path) for path in MODULES}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, "cycle: " + " -> ".join([*trail, module])
        if module in done:
            return
        for target in graph.get(module, ()):
            # A package's own __init__ re-exports its modules; that is not a cycle.
            if not module.startswith(f"{target}.") and not target.startswith("__init__"):
                visit(target, (*trail, module))
        done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_modules_are_small(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES, f"{path.name} has {lines} lines; split it along its seams"


def test_the_product_imports_nothing_of_the_demo_models_making() -> None:
    making = PACKAGE.parents[1] / "demo-model"
    names = {path.stem for path in making.glob("*.py")} | {"corpus"}
    assert {"train", "corpus"} <= names
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        roots = {
            alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names
        }
        roots |= {
            n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) if not n.level
        }
        assert not {root.partition(".")[0] for root in roots} & names, path


def test_test_modules_have_names_of_their_own() -> None:
    """pytest imports them by name: the second of a name is not collected, and nothing runs."""
    names = Counter(path.name for path in TESTS.rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
