"""What changed: in the index, in the working files, on a branch; the same as git's own answer."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from git_repository import git, make, plain, write_index

from local_ai_suite.errors import UsageError
from local_ai_suite.repository.changes import branch_changes, changes, is_tracked, staged
from local_ai_suite.repository.history import subjects
from local_ai_suite.repository.worktree import the_worktree

if TYPE_CHECKING:
    from pathlib import Path

    from local_ai_suite.repository.changes import FileDifference
    from local_ai_suite.repository.worktree import Worktree

# As git would compare: no dates trusted, names as they are, renames found.
DIFF = ("-c", "core.quotePath=false", "diff", "--find-renames", "--ignore-submodules=all")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make(tmp_path / "repository")


def here(folder: Path) -> Worktree:
    return the_worktree(folder)


def text(found: tuple[FileDifference, ...]) -> str:
    return "".join(one.text for one in found).strip()


def names(found: tuple[FileDifference, ...]) -> list[str]:
    return [one.name for one in found]


def test_the_index_the_files_and_the_branch_come_one_difference_per_file(folder: Path) -> None:
    assert names(staged(here(folder))) == ["b.py"]
    assert names(changes(here(folder))) == ["a.py", "b.py"]
    assert names(branch_changes(here(folder), "main")) == ["sub/c.py"]
    assert subjects(here(folder)) == ("More of three", "Begin with numbers")


@pytest.mark.parametrize("form", ["sha1", "sha256"])
def test_each_difference_is_what_git_says(tmp_path: Path, form: str) -> None:
    folder = make(tmp_path / "repository", f"--object-format={form}")
    (folder / "new.py").write_text("new = 1\n")
    (folder / "한 글.txt").write_text("글\n")
    (folder / "data.bin").write_bytes(b"\0\1\2")
    (folder / "link").symlink_to("a.py")
    git(folder, "add", "new.py", "한 글.txt", "data.bin", "link")
    git(folder, "mv", "sub/c.py", "sub/moved.py")
    (folder / "한 글.txt").write_text("글 글\n")
    (folder / "new.py").chmod(0o755)
    (folder / "b.py").unlink()
    (folder / "link").unlink()
    (folder / "link").symlink_to("b.py")
    (folder / "untracked").write_text("nobody asked\n")
    assert text(staged(here(folder))) == git(folder, *DIFF, "--cached")
    assert text(changes(here(folder))) == git(folder, *DIFF, "HEAD")
    assert text(changes(here(folder), "main")) == git(folder, *DIFF, "main")
    assert text(branch_changes(here(folder), "main")) == git(folder, *DIFF, "main...HEAD")


def test_a_file_of_the_same_size_in_the_same_second_is_read_again(folder: Path) -> None:
    git(folder, "commit", "-q", "-a", "-m", "all")
    assert changes(here(folder)) == ()
    (folder / "a.py").write_text("one = 12\n")
    assert "+one = 12" in text(changes(here(folder)))


def test_what_is_only_touched_has_not_changed(folder: Path) -> None:
    git(folder, "commit", "-q", "-a", "-m", "all")
    os.utime(folder / "a.py")
    assert changes(here(folder)) == ()


@pytest.mark.parametrize(
    "kind",
    [
        ["update-index", "--split-index"],
        ["update-index", "--index-version", "4"],
        ["update-index", "--untracked-cache"],
        ["sparse-checkout", "set", "--cone", "--sparse-index", "sub"],
    ],
)
def test_every_kind_of_index_is_read(folder: Path, kind: list[str]) -> None:
    git(folder, "commit", "-q", "-a", "-m", "all")
    git(folder, *kind)
    (folder / "b.py").write_text("two = 222\n")
    git(folder, "add", "b.py")
    (folder / "sub" / "c.py").write_text("three = 333\n")
    assert text(staged(here(folder))) == git(folder, *DIFF, "--cached")
    assert text(changes(here(folder))) == git(folder, *DIFF, "HEAD")


def test_before_the_first_commit_everything_is_new(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    assert changes(here(tmp_path)) == ()
    (tmp_path / "new.py").write_text("x = 1\n")
    git(tmp_path, "add", ".")
    assert names(changes(here(tmp_path))) == names(staged(here(tmp_path))) == ["new.py"]
    assert subjects(here(tmp_path)) == ()


def test_a_linked_working_tree_and_a_submodule_are_read(folder: Path, tmp_path: Path) -> None:
    git(folder, "worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    (tmp_path / "side" / "a.py").write_text("one = 5\n")
    assert names(changes(here(tmp_path / "side"))) == ["a.py"]
    assert names(branch_changes(here(tmp_path / "side"), "main")) == ["sub/c.py"]
    allow = ("-c", "protocol.file.allow=always")
    git(folder, *allow, "submodule", "add", "-q", "-b", "main", str(folder), "inner")
    (folder / "inner" / "a.py").write_text("one = 6\n")
    assert names(changes(here(folder / "inner"))) == ["a.py"]
    assert "inner" not in names(changes(here(folder)))


def test_a_git_folder_elsewhere_must_name_its_working_tree(folder: Path, tmp_path: Path) -> None:
    git(folder, "init", "-q", "--separate-git-dir", str(tmp_path / "elsewhere"))
    with pytest.raises(UsageError, match="doesn't name"):
        the_worktree(folder)
    git(folder, "config", "core.worktree", str(folder))
    assert names(changes(here(folder))) == ["a.py", "b.py"]


def test_a_shallow_clone_and_borrowed_objects_are_read(folder: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--depth=1", "--no-single-branch", folder.as_uri(), "shallow")
    shallow = here(tmp_path / "shallow")
    assert subjects(shallow) == ("More of three",)
    with pytest.raises(UsageError, match="no commit in common"):
        branch_changes(shallow, "origin/main")
    git(tmp_path, "clone", "-q", "--shared", str(folder), "shared")
    assert len(subjects(here(tmp_path / "shared"))) == 2


@pytest.mark.parametrize("name", ["topic", "main~0", "refs/heads/main", "v1", "HEAD~1", "HEAD"])
def test_revisions_are_named_as_in_git(folder: Path, name: str) -> None:
    git(folder, "tag", "-a", "-m", "one", "v1", "main")
    git(folder, "pack-refs", "--all")
    assert text(changes(here(folder), name)) == git(folder, *DIFF, name)


@pytest.mark.parametrize(
    "name",
    ["nope", "--output=/tmp/x", "-h", "HEAD; touch x", "", "a..b", "main:a.py", "a\0b", "HEAD@{1}",
     "@{upstream}"],
)  # fmt: skip
def test_what_is_no_revision_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is no revision"):
        changes(here(folder), name)


def test_line_ends_of_windows_are_compared_as_the_index_has_them(folder: Path) -> None:
    (folder / "b.py").write_bytes(b"two = 22\r\n")  # only the ends differ from the index
    (folder / "a.py").write_bytes(b"one = 7\r\n")
    found = {one.name: one for one in changes(here(folder))}
    assert "+one = 7\n" in found["a.py"].text
    assert "CRLF" in found["a.py"].note
    assert "two = 22\n" in found["b.py"].text
    assert "\r" not in found["b.py"].text


def test_a_file_of_git_lfs_is_compared_by_its_pointer(folder: Path) -> None:
    import hashlib

    held = b"\0large\1" * 1000
    digest = hashlib.sha256(held).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(held)}\n"
    for name in ("same.bin", "other.bin"):
        (folder / name).write_text(pointer)
    git(folder, "add", "same.bin", "other.bin")
    git(folder, "commit", "-q", "-a", "-m", "pointers")
    (folder / "same.bin").write_bytes(held)
    (folder / "other.bin").write_bytes(held + b"more")
    (found,) = changes(here(folder))
    assert found.name == "other.bin"
    assert f"+size {len(held) + 4}\n" in found.text
    assert "Git LFS" in found.note


def test_a_windows_drive_makes_no_file_executable(folder: Path) -> None:
    git(folder, "commit", "-q", "-a", "-m", "all")
    git(folder, "config", "core.fileMode", "false")
    (folder / "a.py").chmod(0o777)
    assert changes(here(folder)) == ()


def test_a_large_file_is_told_and_not_read(folder: Path) -> None:
    with (folder / "a.py").open("wb") as file:
        file.truncate(9 << 20)
    found = {one.name: one for one in changes(here(folder))}
    assert found["a.py"].note.startswith("not read: 9,437,184 bytes")
    assert found["a.py"].text == f"a.py: {found['a.py'].note}\n"


def test_a_difference_past_the_bound_is_refused(folder: Path) -> None:
    for number in range(3):
        (folder / f"{number}").write_text("a line of text\n" * 200_000)
    git(folder, "add", ".")
    with pytest.raises(UsageError, match="more than 8 MiB"):
        staged(here(folder))


def test_a_conflict_is_shown_as_it_lies_there(folder: Path) -> None:
    git(folder, "commit", "-q", "-a", "-m", "ours")
    git(folder, "switch", "-q", "main")
    (folder / "a.py").write_text("one = 3\n")
    git(folder, "commit", "-q", "-a", "-m", "theirs")
    assert plain(folder, "merge", "topic").returncode == 1
    found = {one.name: one.text for one in changes(here(folder))}
    assert "+<<<<<<< HEAD" in found["a.py"]
    assert found["a.py"].startswith("diff --git a/a.py b/a.py")
    assert "a.py" in names(staged(here(folder)))


def test_what_became_a_pipe_is_told_and_does_not_hang(folder: Path) -> None:
    (folder / "a.py").unlink()
    os.mkfifo(folder / "a.py")
    found = {one.name: one for one in changes(here(folder))}
    assert "pipe" in found["a.py"].note


def test_no_link_and_no_odd_name_in_the_index_leads_out(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "c.py").write_text("the secret\n")
    blob = git(folder, "rev-parse", "HEAD:a.py")
    (folder / "sub" / "c.py").unlink()
    (folder / "sub").rmdir()
    (folder / "sub").symlink_to(secret)
    git(folder, "reset", "-q")
    assert "secret" not in text(changes(here(folder)))
    odd = [b"../secret/c.py", b"/etc/hostname", b".git/config", b"sub/../../secret/c.py", b"a.py"]
    write_index(folder, odd, blob)
    found = changes(here(folder))
    assert "the secret" not in text(found)
    assert "repositoryformatversion" not in text(found)
    assert {one.name for one in found if "its name leads" in one.note} == {
        name.decode() for name in odd if name != b"a.py"
    }


def test_names_that_are_no_text_are_read(folder: Path) -> None:
    name = os.fsdecode(b"\xff\xfe.py")
    (folder / name).write_text("x = 1\n")
    git(folder, "add", "-A")
    assert len(staged(here(folder))) == 3
    (folder / name).write_text("x = 2\n")
    assert "+x = 2" in text(changes(here(folder)))


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"DIRC\0\0\0\2\xff\xff\xff\xff"])
def test_a_damaged_index_is_an_error_in_words(folder: Path, damage: bytes) -> None:
    (folder / ".git" / "index").write_bytes(damage)
    if damage:
        with pytest.raises(UsageError, match="git ls-files: "):
            changes(here(folder))


def test_whether_a_file_is_tracked(folder: Path) -> None:
    (folder / "untracked").write_text("x\n")
    worktree = here(folder)
    assert is_tracked(worktree, "a.py")
    assert is_tracked(worktree, "sub/c.py")
    assert is_tracked(worktree, "sub")
    assert not is_tracked(worktree, "untracked")
    assert not is_tracked(worktree, "*")  # a name, no pattern


def test_what_git_writes_of_a_hostile_name_cannot_move_the_cursor(folder: Path) -> None:
    from local_ai_suite.repository.program import Done

    said = Done(1, b"", "\n\x1b[2Jfatal: \u202e" + "x" * 1000).reason
    assert said.startswith("\\x1b[2Jfatal: \\x202e")
    assert len(said) == 300


def test_reading_leaves_the_repository_as_it_was(folder: Path) -> None:
    def state() -> list[tuple[str, bytes]]:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return [(str(path), path.read_bytes()) for path in files]

    before = state()
    staged(here(folder)), changes(here(folder)), branch_changes(here(folder), "main")
    assert state() == before
    left = subprocess.run(["git", "fsck"], cwd=folder, capture_output=True, check=False)
    assert left.returncode == 0
