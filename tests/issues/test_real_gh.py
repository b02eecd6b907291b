"""The real `gh` against a local GitHub with a test certificate."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

import pytest
from github_server import GitHub
from spec_issue import ANSWER, BODY

from screens import Screen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from plan_desk import Desk, FakeServer

pytestmark = pytest.mark.clients
QUESTION = "anything else leaves it waiting"


@pytest.fixture
def github(tmp_path: Path) -> Iterator[GitHub]:
    folder = tmp_path / "github"
    folder.mkdir()
    made = GitHub(folder, ANSWER)
    yield made
    made.close()


@pytest.fixture
def room(desk: Callable[[int], Desk], saying: Callable[[str], FakeServer], github: GitHub) -> Desk:
    """A desk whose `gh` is the real one, logged in by its environment."""
    made = desk(saying("좋은 계획입니다.").port)
    (made.gh.bin / "gh").unlink()
    made.environ["PATH"] = os.environ["PATH"]
    assert shutil.which("gh"), "this tier runs the real gh: install it"
    made.environ |= {
        "SSL_CERT_FILE": str(github.certificate),
        "GH_CONFIG_DIR": str(made.folder / "gh-config"),
        "GH_ENTERPRISE_TOKEN": "ghp_" + "r" * 36,
        "GH_HOST": github.repository.partition("/")[0],
    }
    return made


def test_the_issue_is_read_and_its_actions_are_done(room: Desk, github: GitHub) -> None:
    done = room.plan("1", "--repository", github.repository)
    assert done.code == 0, done.err
    plan, text = room.written()
    assert plan["facts"]["labels"] == ["enhancement", "priority: high"]
    assert plan["facts"]["comments"] == 1
    assert github.changes == []

    words = ["approve", "1", "--no-branch", "--tick", "1", "--close", "completed"]
    lais = [sys.executable, "-m", "local_ai_suite", "plan", *words]
    screen = Screen(lais, room.environ, rows=2_000, folder=room.repository)
    try:
        for _ in range(3):
            screen.wait_for(QUESTION)
            screen.type("approve\n")
        assert screen.end() == 0, screen.seen
    finally:
        screen.kill()
    assert [name for name, _ in github.changes] == ["CommentCreate", "IssueUpdate", "IssueClose"]
    assert github.changes[0][1] == {"subjectId": "I_1", "body": text}
    assert github.changes[1][1]["body"] == BODY.replace("- [ ]", "- [x]", 1)
    assert github.changes[2][1]["stateReason"] == "COMPLETED"
    assert github.tokens == {"token ghp_" + "r" * 36}


def test_an_issue_that_is_not_there_and_a_missing_login_are_told(
    room: Desk, github: GitHub
) -> None:
    done = room.plan("7", "--repository", github.repository)
    assert done.code == 2
    assert "has no issue 7" in done.err
    del room.environ["GH_ENTERPRISE_TOKEN"]
    done = room.plan("1", "--repository", github.repository)
    assert done.code == 2
    assert "not logged in" in done.err


def test_a_server_whose_certificate_is_not_known_is_told(room: Desk, github: GitHub) -> None:
    del room.environ["SSL_CERT_FILE"]
    done = room.plan("1", "--repository", github.repository)
    assert done.code == 7
    assert "certificate" in done.err
