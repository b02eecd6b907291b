"""A corpus of hostile repositories, through everything that reads git: no trap springs.

Each trap is proved first: plain git, in a copy of the same repository, runs the program.
"""

from __future__ import annotations

import os
import shutil
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from git_repository import git, make, plain
from hostile import REFUSED, TRAPS, make_program

from local_ai_suite.approvals.executors import Execution, create_branch
from local_ai_suite.errors import UsageError
from local_ai_suite.issues.survey import survey
from local_ai_suite.repository.changes import branch_changes, changes, is_tracked, staged
from local_ai_suite.repository.history import files_at, subjects
from local_ai_suite.repository.worktree import (
    find_worktree,
    head,
    references,
    remote_repository,
    the_worktree,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from local_ai_suite.repository.worktree import Worktree


def _files(worktree: Worktree) -> object:
    commit, _ = head(worktree)
    return files_at(worktree, commit or "")


def _branch(worktree: Worktree) -> object:
    commit, _ = head(worktree)
    arguments = {"branch": "feature/made", "commit": commit}
    programs = {"git": shutil.which("git") or ""}
    return create_branch(Execution(arguments, worktree.root, {}, programs))


READERS: dict[str, Callable[[Worktree], object]] = {
    "staged": staged,
    "changes": changes,
    "changes since a revision": lambda worktree: changes(worktree, "main"),
    "branch": lambda worktree: branch_changes(worktree, "main"),
    "subjects": subjects,
    "files": _files,
    "references": references,
    "remote": remote_repository,
    "survey": lambda worktree: survey(worktree.root, "one two three"),
    "tracked": lambda worktree: is_tracked(worktree, "a.py"),
    "a new branch": _branch,
}


LACKING = {"changes", "changes since a revision", "branch"}  # what a missing object is an error for


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "ran"


@pytest.fixture
def program(tmp_path: Path, mark: Path) -> str:
    return make_program(tmp_path, mark)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make(tmp_path / "repository")


@pytest.mark.parametrize("name", TRAPS)
def test_no_trap_springs(name: str, folder: Path, program: str, mark: Path) -> None:
    armed = TRAPS[name](folder, program)
    mark.unlink(missing_ok=True)  # arming it may have run it
    if name in REFUSED:
        with pytest.raises(UsageError, match="leads to another place"):
            find_worktree(armed.entry)
    else:
        worktree = the_worktree(armed.entry)
        for reader, read in READERS.items():
            lacks = "partial" in name and reader in {
                "changes",
                "changes since a revision",
                "branch",
            }
            with suppress(UsageError if lacks else ()):
                read(worktree)
            assert not mark.exists(), f"{reader}: {mark.read_text()}"
    armed.spring()
    assert mark.exists(), "plain git doesn't run it: this trap proves nothing"


def test_what_a_partial_clone_lacks_is_said(folder: Path, program: str) -> None:
    TRAPS["partial_clone_over_a_program"](folder, program)
    with pytest.raises(UsageError, match="unable to read") as caught:
        changes(the_worktree(folder))
    assert "not fetched" in caught.value.hint


def test_the_callers_environment_does_not_lead_elsewhere(
    folder: Path, program: str, mark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = changes(the_worktree(folder))
    other = make(tmp_path / "other")
    hostile = {
        "GIT_DIR": str(other / ".git"),
        "GIT_WORK_TREE": str(other),
        "GIT_INDEX_FILE": str(other / ".git" / "index"),
        "GIT_OBJECT_DIRECTORY": str(other / ".git" / "objects"),
        "GIT_EXTERNAL_DIFF": program,
        "GIT_PAGER": program,
        "GIT_SSH_COMMAND": program,
        "GIT_EXEC_PATH": str(tmp_path),
        "GIT_TRACE": str(mark),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.fsmonitor",
        "GIT_CONFIG_VALUE_0": program,
        "GIT_CONFIG_PARAMETERS": f"'core.fsmonitor'='{program}'",
        "GIT_REPLACE_REF_BASE": "refs/heads/",
    }
    for name, value in hostile.items():
        monkeypatch.setenv(name, value)
    assert changes(the_worktree(folder)) == wanted
    for read in READERS.values():
        read(the_worktree(folder))
    assert not mark.exists(), mark.read_text()
    os.system("git --version >/dev/null 2>&1")
    assert mark.exists(), "GIT_TRACE is not heard: this test proves nothing"


def test_a_git_planted_in_the_current_folder_is_not_run(
    folder: Path, program: str, mark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(program, folder / "git")
    (folder / "bin").mkdir()
    shutil.copy(program, folder / "bin" / "git")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", f".::bin:{folder / 'bin'}:{os.environ['PATH']}")
    assert changes(the_worktree(folder))
    assert not mark.exists()
    plain(folder, "--version")
    assert mark.exists(), "the planted git doesn't run: this test proves nothing"


def test_replacements_and_grafts_change_nothing(folder: Path) -> None:
    wanted = changes(the_worktree(folder)), subjects(the_worktree(folder))
    other = git(folder, "hash-object", "-w", "--stdin", stdin=b"a lie\n")
    git(folder, "replace", "HEAD:a.py", other)
    (folder / ".git" / "info").mkdir(exist_ok=True)
    (folder / ".git" / "info" / "grafts").write_text(git(folder, "rev-parse", "HEAD") + "\n")
    assert b"a lie" in plain(folder, "diff", "HEAD").stdout
    assert len(plain(folder, "log", "--format=%s").stdout.splitlines()) == 1
    assert (changes(the_worktree(folder)), subjects(the_worktree(folder))) == wanted


def test_objects_are_borrowed_from_folders_only(folder: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/objects\n"
        info = folder / ".git" / "objects" / "info"
        (info / "http-alternates").write_text(address)
        (info / "alternates").write_text(address + "/dev/zero\n/nowhere\n")
        assert [one.name for one in changes(the_worktree(folder))] == ["a.py", "b.py"]
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize(
    "content",
    [b"", b"x" * (1 << 22), b"\0\xff\n", b"ref: ../../secret\n", b"ref: refs/heads/../../x\n",
     b"ref: refs/heads/loop\n", b"--output=/tmp/x\n", b"ref: refs/heads/a\nb\n"],
)  # fmt: skip
def test_a_head_that_is_none_is_an_error_in_words(folder: Path, content: bytes) -> None:
    (folder / ".git" / "HEAD").write_bytes(content)
    (folder / ".git" / "refs" / "heads" / "loop").write_text("ref: refs/heads/loop\n")
    worktree = the_worktree(folder)
    assert head(worktree)[0] is None
    assert survey(folder, "one").commit is None
    if b"loop" not in content:  # that is a branch without a commit
        with pytest.raises(UsageError, match="HEAD cannot be read"):
            staged(worktree)


def test_a_head_that_is_a_link_is_read_as_git_does_and_leads_nowhere_else(
    folder: Path, tmp_path: Path
) -> None:
    place = folder / ".git" / "HEAD"
    place.unlink()
    place.symlink_to("refs/heads/main")
    assert head(the_worktree(folder)) == (git(folder, "rev-parse", "main"), "main")
    secret = tmp_path / "secret"
    secret.write_text("a password\n")
    place.unlink()
    place.symlink_to(secret)
    assert head(the_worktree(folder)) == (None, None)


def test_a_git_folder_of_pipes_does_not_hang(folder: Path) -> None:
    for name in ("index", "packed-refs", "config", "shallow"):
        (folder / ".git" / name).unlink(missing_ok=True)
        os.mkfifo(folder / ".git" / name)
    worktree = the_worktree(folder)
    assert remote_repository(worktree) is None
    assert len(subjects(worktree)) == 2
    with pytest.raises(UsageError, match="index cannot be read"):
        staged(worktree)


def test_references_stored_as_reftable_are_refused_in_words(folder: Path) -> None:
    (folder / ".git" / "reftable").mkdir()
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/.invalid\n")
    with pytest.raises(UsageError, match="reftable"):
        changes(the_worktree(folder))
    with pytest.raises(UsageError, match="reftable"):
        changes(the_worktree(folder), "main")
    assert survey(folder, "one").commit is None


def test_a_repository_at_a_path_with_any_bytes_is_read(tmp_path: Path) -> None:
    for number, name in enumerate(
        (b'with"quote\nand\\newline', b"#hash", b"\xff\xfe", b"; touch x")
    ):
        folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/%d/" % number + name))
        folder.parent.mkdir()
        make(folder)
        assert len(changes(the_worktree(folder))) == 2
