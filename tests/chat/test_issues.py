"""The repository's issues, through an executable called `gh` at the process boundary."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from local_ai_suite.chat.issue_text import asks_for_issues
from local_ai_suite.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chat_servers import Done

    Ai = Callable[..., Done]

LIST = [
    {"number": 12, "title": "Crash on start \x1b[2J\u202e", "labels": [{"name": "bug"}]},
    {"number": 7, "title": "[Feature] Phase 1: 기본 모델 서빙", "labels": []},
]
ONE = {
    "number": 7, "title": "Phase 1", "body": "Do it.\n\x1b]0;title\x07", "state": "OPEN",
    "labels": [{"name": "enhancement"}], "assignees": [{"login": "mina"}],
    "comments": [{"author": {"login": "joe"}, "body": "Yes."}, {"author": None, "body": "No."}],
}  # fmt: skip


@pytest.fixture
def gh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path) -> Callable[..., Path]:
    """A `gh` that prints, ends with a code, and writes its arguments to a file; beside it a
    repository of GitHub's."""
    address = "git@github.com:o/r.git"
    subprocess.run(["git", "remote", "add", "origin", address], cwd=repository, check=True)

    def make(out: str = "", err: str = "", code: int = 0) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "out").write_text(out, encoding="utf-8")
        (folder / "err").write_text(err, encoding="utf-8")
        program = folder / "gh"
        program.write_text(
            f'#!/bin/sh\necho "$*" > {folder}/asked\ncat {folder}/out\ncat {folder}/err >&2\n'
            f"exit {code}\n"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        return folder / "asked"

    return make


@pytest.mark.parametrize("words", [["issues"], ["이슈 분석"], ["이슈", "분석"], ["List issues."]])
def test_the_list_needs_no_model_and_moves_no_cursor(
    ai: Ai, gh: Callable[..., Path], closed_port: int, words: list[str]
) -> None:
    asked = gh(json.dumps(LIST))
    done = ai(*words, port=closed_port)
    assert done.code == 0
    first, second = done.out.splitlines()
    assert first == "#12    Crash on start \\x1b[2J\\u202e  [bug]"
    assert second == "#7     [Feature] Phase 1: 기본 모델 서빙"
    assert "lais plan N" in done.err
    words = "issue list --state open --limit 30 --repo o/r --json number,"
    assert asked.read_text().startswith(words)


def test_one_issue_with_its_comments(ai: Ai, gh: Callable[..., Path], closed_port: int) -> None:
    asked = gh(json.dumps(ONE))
    done = ai("issues", "7", port=closed_port)
    assert done.code == 0
    assert "# Phase 1 (#7)" in done.out
    assert "assigned: mina" in done.out
    assert "--- joe:\nYes." in done.out
    assert "\x1b" not in done.out
    assert asked.read_text().startswith("issue view 7 --repo o/r --json")
    assert json.loads(ai("issues", "7", "--json", port=closed_port).out)["data"]["issue"] == ONE


@pytest.mark.parametrize(
    ("err", "words"),
    [
        ("To get started with GitHub CLI, please run:  gh auth login", "not logged in"),
        ("GraphQL: Could not resolve to an Issue with the number of 99.", "`lais ai issues`"),
        ("GraphQL: Could not resolve to a Repository with the name 'o/r'.", "--repository"),
        ("error \x1b[2J", "error \\x1b[2J"),
        ("error connecting to api.github.com", "network"),
        ("", "no reason given"),
    ],
)
def test_what_gh_refuses_is_said_with_the_remedy(
    ai: Ai, gh: Callable[..., Path], closed_port: int, err: str, words: str
) -> None:
    gh(err=err, code=1)
    done = ai("issues", "99", port=closed_port)
    assert done.code in {2, 7}
    assert words in done.err


def test_nonsense_from_gh_and_no_gh(
    ai: Ai,
    gh: Callable[..., Path],
    closed_port: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    gh("<html>")
    assert "did not answer in JSON" in ai("issues", port=closed_port).err
    (tmp_path / "bin" / "gh").unlink()
    git_alone = tmp_path / "git-alone"
    git_alone.mkdir()
    (git_alone / "git").symlink_to(shutil.which("git") or "")
    monkeypatch.setenv("PATH", str(git_alone))
    done = ai("issues", port=closed_port)
    assert done.code == 2
    assert "cli.github.com" in done.err


def test_a_repository_may_be_named_and_must_be_known(
    ai: Ai, gh: Callable[..., Path], closed_port: int, repository: Path
) -> None:
    asked = gh(json.dumps([]))
    assert ai("issues", "--repository", "my/own", port=closed_port).out == "no issues\n"
    assert "--repo my/own " in asked.read_text()
    subprocess.run(["git", "remote", "remove", "origin"], cwd=repository, check=True)
    done = ai("issues", port=closed_port)
    assert done.code == 2
    assert "--repository owner/name" in done.err


def test_a_question_about_issues_is_still_a_question() -> None:
    assert not asks_for_issues("이슈 분석하는 방법 알려줘")
    assert not asks_for_issues("what are the issues with nuclear power?")


def test_plan_is_the_planners_own_command(
    ai: Ai, closed_port: int, capsys: pytest.CaptureFixture[str], repository: Path
) -> None:
    done = ai("plan", "99", port=closed_port)
    with pytest.raises(SystemExit) as left:
        main(["plan", "99"])
    said = capsys.readouterr()
    assert (done.code, done.err) == (left.value.code, said.err)
    assert done.code == 2
    assert "no remote" in done.err
