"""A branch is made as git makes it, and git itself reads nothing of the repository's for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from local_ai_suite.approvals.references import NotMade, make_branch

GIT = Path(shutil.which("git") or "")


def git(folder: Path, *words: str) -> str:
    return subprocess.run(
        ["git", "-c", "user.name=T", "-c", "user.email=t@example.org", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout.strip()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "repository"
    made.mkdir()
    git(made, "init", "-q", "-b", "main")
    (made / "file").write_text("content\n")
    git(made, "add", "file")
    git(made, "commit", "-q", "-m", "first")
    return made


def make(folder: Path, branch: str, commit: str | None = None) -> None:
    make_branch(folder, branch, commit or git(folder, "rev-parse", "HEAD"), git=GIT)


def left(folder: Path) -> list[str]:
    """What a failure could have left."""
    return [str(path) for path in (folder / ".git").rglob("*.lock")]


def test_the_branch_its_log_and_a_healthy_repository(folder: Path) -> None:
    make(folder, "feature/issue-3-x")
    head = git(folder, "rev-parse", "HEAD")
    assert git(folder, "rev-parse", "feature/issue-3-x") == head
    assert git(folder, "reflog", "show", "--format=%H %gs", "feature/issue-3-x") == (
        f"{head} lais plan"
    )
    assert git(folder, "branch", "--show-current") == "main"
    git(folder, "fsck", "--strict")
    git(folder, "pack-refs", "--all", "--prune")
    git(folder, "branch", "-d", "feature/issue-3-x")
    make(folder, "feature/issue-3-x")
    assert left(folder) == []


def test_in_a_linked_working_tree_and_from_a_subfolder(folder: Path, tmp_path: Path) -> None:
    git(folder, "worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    (tmp_path / "side" / "sub").mkdir()
    make(tmp_path / "side" / "sub", "feature/a", git(folder, "rev-parse", "HEAD"))
    assert git(folder, "rev-parse", "feature/a")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("there", "wanted", "words"),
    [
        ("feature/x", "feature/x", "a branch feature/x already"),
        ("feature", "feature/x", "there is a branch feature, so feature/x can't be made"),
        ("feature/x/y", "feature/x", "can't be made"),
    ],
)
def test_a_name_that_is_taken_is_refused(
    folder: Path, packed: bool, there: str, wanted: str, words: str
) -> None:
    git(folder, "branch", there)
    if packed:
        git(folder, "pack-refs", "--all", "--prune")
    before = git(folder, "for-each-ref")
    with pytest.raises(NotMade, match=words):
        make(folder, wanted)
    assert git(folder, "for-each-ref") == before
    assert left(folder) == []


def test_empty_folders_of_deleted_branches_are_no_obstacle(folder: Path) -> None:
    (folder / ".git" / "refs" / "heads" / "feature" / "x" / "y" / "z").mkdir(parents=True)
    (folder / ".git" / "logs" / "refs" / "heads" / "feature" / "x" / "y").mkdir(parents=True)
    make(folder, "feature/x")
    assert git(folder, "rev-parse", "feature/x")


def test_a_lock_of_another_git_is_respected(folder: Path) -> None:
    lock = folder / ".git" / "refs" / "heads" / "mine.lock"
    lock.write_text("")
    with pytest.raises(NotMade, match="another git is at work"):
        make(folder, "mine")
    assert lock.exists()


def test_of_many_at_once_one_makes_it_and_gits_own_commands_agree(folder: Path) -> None:
    """Our branch against git's, again and again: never two winners, never a branch that moved."""
    first = git(folder, "rev-parse", "HEAD")
    git(folder, "commit", "-q", "--allow-empty", "-m", "second")
    second = git(folder, "rev-parse", "HEAD")
    for number in range(10):
        name = f"race/{number}"
        won: list[str] = []
        ready = threading.Barrier(3)

        def ours(name: str = name, ready: threading.Barrier = ready, won: list[str] = won) -> None:
            ready.wait()
            try:
                make_branch(folder, name, first, git=GIT)
                won.append(first)
            except NotMade:
                pass

        def theirs(
            name: str = name, ready: threading.Barrier = ready, won: list[str] = won
        ) -> None:
            ready.wait()
            if not subprocess.run(
                ["git", "branch", name, second], cwd=folder, capture_output=True, check=False
            ).returncode:
                won.append(second)

        threads = [threading.Thread(target=one) for one in (ours, ours, theirs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(won) == 1
        assert git(folder, "rev-parse", name) == won[0]
    assert left(folder) == []


@pytest.mark.parametrize("commit", ["1" * 40, "tree", "blob"])
def test_what_is_no_commit_here_is_refused(folder: Path, commit: str) -> None:
    names = {"tree": "HEAD^{tree}", "blob": "HEAD:file"}
    real = git(folder, "rev-parse", names[commit]) if commit in names else commit
    with pytest.raises(NotMade, match="no commit in this repository"):
        make(folder, "feature/x", real)
    assert left(folder) == []


def test_a_link_in_the_git_folder_leads_no_write_out(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (folder / ".git" / "refs" / "heads" / "feature").symlink_to(outside)
    with pytest.raises(NotMade):
        make(folder, "feature/x")
    (folder / ".git" / "logs" / "refs" / "heads" / "other").symlink_to(outside)
    with pytest.raises(NotMade):
        make(folder, "other/x")
    assert list(outside.iterdir()) == []
    assert left(folder) == []


def test_another_repositorys_git_folder_gets_no_branch(folder: Path, tmp_path: Path) -> None:
    commit = git(folder, "rev-parse", "HEAD")
    other = tmp_path / "other"
    other.mkdir()
    (other / ".git").write_text(f"gitdir: {folder / '.git'}\n")
    with pytest.raises(NotMade, match="leads to another place"):
        make(other, "feature/x", commit)
    with pytest.raises(NotMade, match="not in a git repository"):
        make(tmp_path, "feature/x", commit)


def test_references_as_reftable_and_a_log_that_cannot_be_written(folder: Path) -> None:
    (folder / ".git" / "logs" / "refs" / "heads" / "full").mkdir()
    (folder / ".git" / "logs" / "refs" / "heads" / "full" / "kept").write_text("x")
    with pytest.raises(NotMade, match="full"):
        make(folder, "full")
    assert "full" not in git(folder, "branch")
    (folder / ".git" / "reftable").mkdir()
    with pytest.raises(NotMade, match="git branch feature/x"):
        make(folder, "feature/x")
    assert left(folder) == []


def test_modes_are_as_gits_own(folder: Path) -> None:
    before = os.umask(0o027)
    try:
        git(folder, "branch", "theirs")
        make(folder, "ours")
    finally:
        os.umask(before)
    heads = folder / ".git" / "refs" / "heads"
    assert (heads / "ours").stat().st_mode == (heads / "theirs").stat().st_mode
