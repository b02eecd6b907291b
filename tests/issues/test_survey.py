"""The repository is read; nothing in it is run, and no link leads out of it."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
from plan_desk import git, make_repository
from spec_issue import ANSWER, FILES, NUMBER, REPOSITORY

from local_ai_suite.issues.issue import from_gh
from local_ai_suite.issues.survey import read_inside, survey
from local_ai_suite.repository.files import WorkingFiles

if TYPE_CHECKING:
    from pathlib import Path

TEXT = from_gh(ANSWER, NUMBER, REPOSITORY).text


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repository")


def test_files_history_and_remote_are_found(repository: Path) -> None:
    found = survey(repository / "docker", TEXT)
    assert found.root == repository
    assert found.files == tuple(sorted(FILES))
    assert found.commit == git(repository, "rev-parse", "HEAD")
    assert found.branch == "main"
    assert found.repository == REPOSITORY
    assert [commit.subject for commit in found.log] == ["첫 커밋: 서버와 게이트웨이"]


def test_files_that_the_issue_names_are_checked_against_the_repository(repository: Path) -> None:
    found = survey(repository, TEXT)
    assert "docker/compose.p1.yml" in found.named
    assert "models/README.md" in found.named
    assert "src/old_server.py" in found.missing
    assert set(found.named) <= set(FILES)
    assert set(found.candidates) <= set(FILES)
    assert found.candidates[0] in found.named


def test_the_issues_words_are_found_in_the_files(repository: Path) -> None:
    hits = survey(repository, TEXT).hits
    assert any(hit.path == "scripts/ai.py" and "서빙" in hit.text for hit in hits)


def test_a_configuration_that_git_cannot_read_does_not_matter(repository: Path) -> None:
    (repository / ".git" / "config").write_text("[core\nbroken = \x00 [[[")
    found = survey(repository, TEXT)
    assert found.files == tuple(sorted(FILES))
    assert found.repository is None


def test_packed_references_and_a_worktree_are_read_too(repository: Path) -> None:
    git(repository, "pack-refs", "--all")
    git(repository, "gc", "-q")
    assert survey(repository, TEXT).commit == git(repository, "rev-parse", "HEAD")
    other = repository.parent / "other"
    git(repository, "worktree", "add", "-q", "-b", "side", str(other))
    found = survey(other, TEXT)
    assert found.root == other
    assert found.branch == "side"
    assert found.files == tuple(sorted(FILES))


def test_an_empty_repository_and_no_repository_are_walked(tmp_path: Path) -> None:
    for name in ("empty", "none"):
        folder = tmp_path / name
        folder.mkdir()
        if name == "empty":
            git(folder, "init", "-q")
        (folder / "a.py").write_text("model = 1\n")
        found = survey(folder, TEXT)
        assert found.files == ("a.py",)
        assert found.commit is None
        assert found.log == ()


def test_no_link_leads_out_of_the_repository(repository: Path) -> None:
    secret = repository.parent / "secret.txt"
    secret.write_text("모델 서빙 secret\n")
    (repository / "link.txt").symlink_to(secret)
    (repository / "folder").symlink_to(repository.parent)
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "links")
    with WorkingFiles(repository) as files:
        assert read_inside(files, "link.txt") == ""
        assert read_inside(files, "folder/secret.txt") == ""
    assert not any("secret" in hit.text for hit in survey(repository, TEXT).hits)


def test_binaries_pipes_and_strange_names_are_left_out(repository: Path) -> None:
    import os

    os.mkfifo(repository / "pipe")
    (repository / "blob.bin").write_bytes(b"\0\1\2" * 100)
    (repository / "a`b.py").write_text("x")
    (repository / "new\nline.py").write_text("x")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "strange")
    with WorkingFiles(repository) as files:
        assert read_inside(files, "pipe") == ""
        assert read_inside(files, "blob.bin") == ""
    assert set(survey(repository, TEXT).files) == {*FILES, "blob.bin"}
    assert stat.S_ISFIFO((repository / "pipe").stat().st_mode)
