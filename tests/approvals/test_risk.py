"""A file's risk by its path, and a write that leaves nothing behind when it fails."""

from __future__ import annotations

import hashlib
import os
import resource
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from local_ai_suite.approvals.policy import Level
from local_ai_suite.approvals.risk import is_git_folder_name, risk_of
from local_ai_suite.errors import ApprovalError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from approval_room import Room

    from local_ai_suite.approvals.store import Request


def ask(room: Room, path: str, content: str = "new\n", old: str | None = None) -> Request:
    digest = "absent" if old is None else hashlib.sha256(old.encode()).hexdigest()
    arguments = {"path": path, "content": content, "old_sha256": digest}
    return room.gate.request("write_file", arguments, component="test", cwd=room.work)


def write(room: Room, path: str, content: str = "new\n", old: str | None = None) -> Request:
    request = ask(room, path, content, old)
    room.approve(request)
    return room.gate.execute(request.id)


@pytest.mark.parametrize(
    ("path", "level", "word"),
    [
        ("hooks/pre-commit", Level.CRITICAL, "hooks"),
        (".husky/pre-push", Level.CRITICAL, "hooks"),
        (".gitattributes", Level.CRITICAL, "filters"),
        ("deep/down/.gitattributes", Level.CRITICAL, "filters"),
        (".github/workflows/x.yml", Level.CRITICAL, "build server"),
        (".gitlab-ci.yml", Level.CRITICAL, "build server"),
        (".envrc", Level.CRITICAL, "shell"),
        (".ENVRC", Level.CRITICAL, "shell"),
        (".vscode/tasks.json", Level.CRITICAL, "editor"),
        (".claude/settings.json", Level.CRITICAL, "agent"),
        (".cursor/rules/x.md", Level.CRITICAL, "agent"),
        (".mcp.json", Level.CRITICAL, "agent"),
        ("docs/AGENTS.md", Level.CRITICAL, "agent"),
        ("Agents.MD", Level.CRITICAL, "agent"),
        (".env.local", Level.CRITICAL, "secrets"),
        ("keys/server.pem", Level.CRITICAL, "secrets"),
        ("Makefile", Level.HIGH, "build"),
        ("web/package.json", Level.HIGH, "build"),
        ("pyproject.toml", Level.HIGH, "build"),
        ("tests/conftest.py", Level.HIGH, "build"),
        ("src/hooks/use_it.ts", Level.HIGH, ""),
        ("src/environment.py", Level.HIGH, ""),
    ],
)
def test_what_runs_by_itself_asks_for_the_code(
    room: Room, path: str, level: Level, word: str
) -> None:
    request = ask(room, path)
    assert request.level is level
    reasons = room.gate.judgement(request).reasons
    assert "it replaces what the file holds" in reasons
    assert (risk_of(path) is not None) == bool(word)
    assert any(word in reason for reason in reasons)


def test_a_critical_path_is_not_approved_as_a_high_one(room: Room) -> None:
    request = ask(room, ".vscode/tasks.json")
    with pytest.raises(ApprovalError, match="CRITICAL"):
        room.approve(request, Level.HIGH)
    room.approve(request, Level.CRITICAL)
    assert room.gate.execute(request.id).state == "done"


@pytest.mark.parametrize(
    "name",
    [".git", ".GIT", ".git.", ".git ", ".git::$INDEX_ALLOCATION", "GIT~1", ".g\u200cit",
     ".\uff47it"],
)  # fmt: skip
def test_no_name_that_a_file_system_takes_for_the_git_folder_is_written(
    room: Room, name: str
) -> None:
    assert is_git_folder_name(name)
    with pytest.raises(ApprovalError, match="is never written"):
        ask(room, f"{name}/config")


def test_a_git_folder_under_another_name_is_not_written(room: Room) -> None:
    bare = room.work / "data" / "bare"
    for folder in ("objects", "refs", "hooks"):
        (bare / folder).mkdir(parents=True)
    (bare / "HEAD").write_text("ref: refs/heads/main\n")
    for path in ("data/bare/config", "data/bare/hooks/post-update"):
        done = write(room, path)
        assert done.state == "failed"
        assert "is a git folder" in done.progress["outcome"]["error"]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_blocks_nothing_and_leaves_nothing(room: Room, tmp_path: Path) -> None:
    from local_ai_suite.approvals.executors import Execution, Failed, write_file

    (room.work / "notes").write_text("old\n")
    old = hashlib.sha256(b"old\n").hexdigest()
    arguments = {"path": "notes", "content": "n" * 5000, "old_sha256": old}
    execution = Execution(arguments, room.work, {}, {})
    for _ in range(2):
        with largest_file(4096), pytest.raises(Failed, match="it is as it was"):
            write_file(execution)
        assert (room.work / "notes").read_text() == "old\n"
        assert [path.name for path in room.work.iterdir()] == ["notes"]
    write_file(execution)
    assert (room.work / "notes").stat().st_size == 5000


@pytest.mark.parametrize("mode", [0o664, 0o600, 0o755, 0o444, 0o666])
def test_a_file_keeps_its_mode_whatever_the_umask(room: Room, mode: int) -> None:
    (room.work / "notes").write_text("old\n")
    (room.work / "notes").chmod(mode)
    before = os.umask(0o077)
    try:
        assert write(room, "notes", old="old\n").state == "done"
        assert write(room, "made").state == "done"
    finally:
        os.umask(before)
    assert (room.work / "notes").stat().st_mode & 0o7777 == mode
    assert (room.work / "made").stat().st_mode & 0o777 == 0o600  # a new one: what the umask gives


def test_a_name_as_long_as_the_file_system_allows_is_written(room: Room) -> None:
    name = "한" * 85  # 255 bytes
    assert write(room, name).state == "done"
    assert (room.work / name).read_text() == "new\n"


def test_a_pipe_in_a_files_place_does_not_hang(room: Room) -> None:
    from local_ai_suite.approvals.executors import Execution, Failed, write_file

    os.mkfifo(room.work / "pipe")
    arguments = {"path": "pipe", "content": "x", "old_sha256": "absent"}
    with pytest.raises(Failed, match="plain file"):
        write_file(Execution(arguments, room.work, {}, {}))


def test_a_program_in_the_project_is_neither_bound_nor_in_the_path_of_one(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = room.folder / "bin"
    for folder in (room.work, ours):
        folder.mkdir(exist_ok=True)
        (folder / "gh").write_text("#!/bin/sh\n")
        (folder / "gh").chmod(0o755)
    monkeypatch.chdir(room.work)
    monkeypatch.setenv("PATH", f".:{room.work}::{ours}:/usr/bin")
    request = room.gate.request(
        "comment", {"repository": "o/r", "issue": 3, "body": "x"}, component="t", cwd=room.work
    )
    assert request.record["files"][0]["path"] == str(ours / "gh")
    assert request.record["environment"]["PATH"] == f"{ours}:/usr/bin"
