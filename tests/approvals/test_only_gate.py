"""The gate is the only way: proved by reading the whole package."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "local_ai_suite"
MODULES = sorted(PACKAGE.rglob("*.py"))
NAMES = {path: ".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in MODULES}

# Who may import the executors: the registry names them; the binding makes what they take; the gate
# knows how they fail.
MAY_IMPORT = {"approvals.registry", "approvals.binding", "approvals.gate"}
# gh's words that change something on the server, and git's that change a repository or reach one.
GH_WRITES = {"comment", "edit", "close", "reopen", "create", "delete", "merge", "ready", "review"}
GIT_WRITES = {"push", "update-ref", "branch", "checkout", "switch", "commit", "tag", "reset"}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    package = NAMES[path].split(".")[:-1]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name.removeprefix("local_ai_suite.") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = (node.module or "").removeprefix("local_ai_suite").removeprefix(".")
            whole = ".".join([*base, *([name] if name else [])])
            found |= {whole, *(f"{whole}.{alias.name}".lstrip(".") for alias in node.names)}
    return found


@pytest.mark.parametrize("path", MODULES, ids=NAMES.get)
def test_nothing_but_the_registry_and_the_gate_knows_the_executors(path: Path) -> None:
    if any(name.startswith("approvals.executors") for name in imported(path)):
        assert NAMES[path] in MAY_IMPORT


def test_only_the_gate_calls_an_executor() -> None:
    callers = {
        NAMES[path]
        for path in MODULES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "execute"
        and ast.unparse(node.func.value) in {"kind", "action", "self._kind(request.action)"}
    }
    assert callers == {"approvals.gate"}


def test_only_the_registry_takes_an_executor_in_hand() -> None:
    users = {
        NAMES[path]
        for path in MODULES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("executors.")
    }
    assert users == {"approvals.registry"}


def test_only_the_terminal_makes_a_presence() -> None:
    makers = {
        NAMES[path]
        for path in MODULES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "Presence"
    }
    assert makers == {"approvals.terminal"}


def test_only_the_command_line_knows_the_terminal_and_no_service_does() -> None:
    """So there is no approving over HTTP or MCP: what serves them never reaches a Presence."""
    users = {NAMES[path] for path in MODULES if "approvals.terminal" in imported(path)}
    assert users <= {"approvals.gate", "cli.approvals", "cli.issues"}
    for path in MODULES:
        if NAMES[path].split(".")[0] in {"gateway", "engine", "wire", "mcp", "rag"}:
            assert not any(name.startswith("approvals") for name in imported(path)), NAMES[path]


def test_only_the_command_line_approves() -> None:
    callers = {
        NAMES[path]
        for path in MODULES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "approve"
    }
    assert callers == {"cli.approvals"}


def test_no_other_module_has_the_words_to_change_an_issue_or_a_repository() -> None:
    for path in MODULES:
        if NAMES[path] == "approvals.executors":
            continue
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.List | ast.Tuple):
                continue
            words = [
                item.value
                for item in node.elts
                if isinstance(item, ast.Constant) and isinstance(item.value, str)
            ]
            if words[:1] in (["gh"], ["issue"], ["pr"], ["api"]):
                assert not GH_WRITES & set(words), f"{NAMES[path]}: {words}"
            if words[:1] == ["git"]:
                assert not GIT_WRITES & set(words), f"{NAMES[path]}: {words}"


def test_only_one_room_starts_git_or_gh() -> None:
    """The executors run what the gate has bound; the registry names it."""
    allowed = {"approvals.executors", "approvals.registry", "repository.gh", "repository.shadow"}
    for path in MODULES:
        for node in ast.walk(tree(path)):
            named = isinstance(node, ast.Constant) and node.value in {"git", "gh"}
            assert not named or NAMES[path] in allowed, f"{NAMES[path]}, line {node.lineno}"


def test_there_is_no_action_and_no_word_for_pull_requests() -> None:
    from local_ai_suite.approvals.registry import ACTIONS

    assert set(ACTIONS) == {
        "comment", "tick_checklist", "close_issue", "create_branch", "write_file",
    }  # fmt: skip
    for path in MODULES:
        words = {
            node.value
            for node in ast.walk(tree(path))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert "pr" not in words, NAMES[path]
