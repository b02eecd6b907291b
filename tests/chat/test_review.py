"""Commit messages and reviews of what changed in the current repository."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from chat_servers import http

from local_ai_suite.chat.tasks import clean_message
from local_ai_suite.repository.history import subjects
from local_ai_suite.repository.worktree import the_worktree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chat_servers import Done, RawServer

    Ai = Callable[..., Done]
    Raw = Callable[..., RawServer]


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def changed(repository: Path) -> Path:
    """One commit, one staged change (b.py), one that is not staged (a.py)."""
    (repository / "a.py").write_text("one = 1\n")
    (repository / "b.py").write_text("two = 2\n")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "Begin with numbers")
    (repository / "a.py").write_text("one = 11\n")
    (repository / "b.py").write_text("two = 22\n")
    git(repository, "add", "b.py")
    return repository


def test_commit_writes_a_message_and_commits_nothing(ai: Ai, port: int, changed: Path) -> None:
    done = ai("commit", port=port)
    assert (done.code, done.out) == (0, "Hello from the scripted model.\n")
    assert subjects(the_worktree(changed)) == ("Begin with numbers",)


def test_the_models_see_the_changes_and_the_earlier_style(
    ai: Ai, raw_server: Raw, changed: Path
) -> None:
    body = b'{"data":[{"id":"m"}],"choices":[{"message":{"content":"```\\nSay two\\n```"}}]}'
    server = raw_server(http(body))
    done = ai("commit", port=int(server.url.split(":")[2][:-3]))
    assert done.out == "Say two\n", done.err
    asked = server.requests[-1].decode()
    assert "+two = 22" in asked
    assert "one = 11" not in asked  # not staged
    assert "Begin with numbers" in asked


def test_nothing_staged_and_nothing_changed_say_so(ai: Ai, port: int, repository: Path) -> None:
    assert "nothing is staged" in ai("commit", port=port).err
    assert "no changes to review" in ai("review", port=port).err


def test_review_reads_the_changes(ai: Ai, port: int, changed: Path) -> None:
    done = ai("review", port=port)
    assert (done.code, done.out) == (0, "Hello from the scripted model.\n")
    assert "is no revision" in ai("review", "nowhere", port=port).err


def test_outside_of_a_repository_both_say_so(
    ai: Ai, closed_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for verb in ("commit", "review"):
        done = ai(verb, port=closed_port)
        assert done.code == 2
        assert "is not in a git repository" in done.err


def test_how_a_file_was_read_is_told(ai: Ai, port: int, changed: Path) -> None:
    (changed / "a.py").write_bytes(b"one = 7\r\n")
    assert "CRLF" in ai("review", port=port).err


def test_changes_over_the_context_are_cut_by_file(ai: Ai, port: int, changed: Path) -> None:
    (changed / "large.py").write_text("value = 'many words in a line'\n" * 1000)
    git(changed, "add", ".")
    refused = ai("commit", port=port)
    assert refused.code == 7
    assert "large.py.diff" in refused.err
    cut = ai("commit", "--cut", port=port)
    assert cut.code == 0
    assert "large.py.diff was cut" in cut.err


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("Add a test\n", "Add a test"),
        ("```text\nAdd a test\n\nBecause.\n```", "Add a test\n\nBecause."),
        ("Here is your commit message:\n\n`Add a test`", "Add a test"),
        ('"Add a test"', "Add a test"),
        ("커밋 메시지:\n시험 추가", "시험 추가"),
        ("```\n```", ""),
    ],
)
def test_chatter_around_a_message_is_removed(said: str, message: str) -> None:
    assert clean_message(said) == message
