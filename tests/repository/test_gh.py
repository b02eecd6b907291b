"""`gh` reads issues from an empty folder, and sends no token where a repository's author says."""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

import pytest
from git_repository import git, make

from local_ai_suite.errors import NetworkError
from local_ai_suite.repository.gh import Issues
from local_ai_suite.repository.worktree import remote_repository, the_worktree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Called = Callable[[], dict[str, Any]]

PROGRAM = """#!{python}
import json, os, sys
json.dump({{"argv": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ),
           "files": os.listdir()}}, open({log!r}, "w"))
print([])
"""


@pytest.fixture
def gh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Called:
    """A gh on PATH; the function says how it was called last."""
    folder = tmp_path / "bin"
    folder.mkdir()
    log = tmp_path / "gh.json"
    program = folder / "gh"
    program.write_text(PROGRAM.format(python=sys.executable, log=str(log)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def called() -> dict[str, Any]:
        noted: dict[str, Any] = json.loads(log.read_text())
        return noted

    return called


def test_it_runs_in_an_empty_folder_with_the_repositorys_name(
    gh: Called, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path / "repository")
    git(folder, "remote", "add", "origin", "git@github.com:o/r.git")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GIT_DIR", str(folder / ".git"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "0")
    assert Issues(remote_repository(the_worktree(folder)) or "", outside=folder).list() == []
    called = gh()
    assert called["argv"][called["argv"].index("--repo") + 1] == "o/r"
    assert called["files"] == []
    assert not called["cwd"].startswith(str(folder))
    assert not [name for name in called["env"] if name.startswith("GIT_")]


def test_a_token_for_any_server_goes_where_a_person_says_and_nowhere_else(
    gh: Called, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GH_ENTERPRISE_TOKEN", "secret")
    monkeypatch.setenv("GITHUB_ENTERPRISE_TOKEN", "secret")
    Issues("evil.example/o/r").list()
    assert "secret" not in gh()["env"].values()
    Issues("ghe.example/o/r", named=True).list()
    assert gh()["env"]["GH_ENTERPRISE_TOKEN"] == "secret"
    monkeypatch.setenv("GH_HOST", "ghe.example")
    Issues("ghe.example/o/r").list()
    assert gh()["env"]["GITHUB_ENTERPRISE_TOKEN"] == "secret"
    Issues("evil.example/o/r").list()
    assert "secret" not in gh()["env"].values()


def test_a_gh_planted_in_the_current_folder_is_not_run(
    gh: Called, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path / "repository")
    mark = tmp_path / "ran"
    for place in (folder / "gh", folder / "bin" / "gh"):
        place.parent.mkdir(exist_ok=True)
        place.write_text(f"#!/bin/sh\ntouch {mark}\necho '[]'\n")
        place.chmod(0o755)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", f".::bin:{folder / 'bin'}:{os.environ['PATH']}")
    assert shutil.which("gh") in {"./gh", "bin/gh", str(folder / "gh")}  # who trusts PATH runs it
    Issues("o/r", outside=folder).list()
    assert not mark.exists()
    assert gh()["argv"][:2] == ["issue", "list"]
    assert str(folder) not in gh()["env"]["PATH"]


@pytest.mark.usefixtures("gh")
def test_answers_of_another_kind_and_without_an_end_are_errors(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="did not answer with issue 3"):
        Issues("o/r").view(3)
    (tmp_path / "bin" / "gh").write_text("#!/bin/sh\nyes\n")
    with pytest.raises(NetworkError, match="more than 64 MiB"):
        Issues("o/r").list()


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("git@github.com:o/r.git", "o/r"),
        ("https://github.com/o/r", "o/r"),
        ("https://user:pw@github.com/o/r.git", "o/r"),
        ("ssh://git@git.example.com:2222/o/r.git", "git.example.com/o/r"),
        ("/srv/git/r.git", None),
        ("--upload-pack=x", None),
        ('https://github.com/o/r"; x = "', None),
        ("https://github.com/o/r\nurl = x", None),
    ],
)
def test_the_remotes_address_gives_the_repositorys_name(
    tmp_path: Path, address: str, name: str | None
) -> None:
    folder = make(tmp_path / "repository")
    git(folder, "config", "remote.origin.url", address)
    assert remote_repository(the_worktree(folder)) == name
