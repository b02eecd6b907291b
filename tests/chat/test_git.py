"""Reading a repository that its owner may have booby-trapped; commit messages and reviews of it."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from chat_servers import http

from local_ai_suite.chat.git import Repository, hardened
from local_ai_suite.chat.tasks import clean_message
from local_ai_suite.errors import UsageError

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


def test_staged_changes_and_all_changes_come_one_source_per_file(changed: Path) -> None:
    repository = Repository(changed)
    assert [source.name for source in repository.staged()] == ["b.py.diff"]
    assert "+two = 22" in repository.staged()[0].text
    assert [source.name for source in repository.changes()] == ["a.py.diff", "b.py.diff"]
    assert repository.subjects() == ("Begin with numbers",)


def test_a_branch_is_compared_with_where_it_began(changed: Path) -> None:
    git(changed, "switch", "-q", "-c", "topic")
    git(changed, "commit", "-q", "-a", "-m", "More")
    names = [source.name for source in Repository(changed).branch_changes("main")]
    assert names == ["a.py.diff", "b.py.diff"]


def test_odd_names_deletions_and_binary_files_have_names(changed: Path) -> None:
    git(changed, "rm", "-q", "--cached", "a.py")
    (changed / "한 글.bin").write_bytes(b"\0\1")
    git(changed, "add", "한 글.bin")
    names = {source.name for source in Repository(changed).staged()}
    assert "a.py.diff" in names
    assert len(names) == 3


def test_an_empty_repository_and_no_repository(repository: Path, tmp_path: Path) -> None:
    (repository / "new.py").write_text("x = 1\n")
    git(repository, "add", ".")
    assert [source.name for source in Repository(repository).changes()] == ["new.py.diff"]
    assert Repository(repository).subjects() == ()
    with pytest.raises(UsageError, match="git diff"):
        Repository(tmp_path).staged()


@pytest.mark.parametrize("name", ["nope", "--output=/tmp/x", "-h", "HEAD; touch x", "", "a..b"])
def test_what_is_no_revision_is_refused(changed: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is no revision"):
        Repository(changed).changes(name)


def traps(folder: Path, mark: Path) -> None:
    """Every place known to us where a repository's own files name a program for `git diff`."""
    program = folder / "trap.sh"
    program.write_text(f'#!/bin/sh\necho "$0 $*" >> {mark}\ncat\n')
    program.chmod(0o755)
    hooks = folder / "hooks"
    hooks.mkdir()
    for hook in ("post-index-change", "pre-commit", "post-checkout", "fsmonitor-watchman"):
        (hooks / hook).write_text(program.read_text())
        (hooks / hook).chmod(0o755)
    for key in (
        "core.fsmonitor", "core.pager", "diff.external", "diff.trap.command", "pager.diff",
        "diff.trap.textconv", "filter.trap.clean", "filter.trap.smudge", "filter.trap.process",
        "filter.a=b.clean", "core.sshCommand", "core.gitProxy", "credential.helper",
        "gpg.program", "interactive.diffFilter", "alias.diff", "sequence.editor", "core.editor",
        "core.alternateRefsCommand", "uploadpack.packObjectsHook",
    ):  # fmt: skip
        git(folder, "config", key, str(program))
    git(folder, "config", "core.hooksPath", str(hooks))
    git(folder, "config", "log.showSignature", "true")
    git(folder, "config", "filter.trap.required", "true")
    (folder / ".gitattributes").write_text("*.py diff=trap filter=trap\nb.py filter=a=b\n")


def test_no_program_named_by_the_repository_runs(changed: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    git(changed, "switch", "-q", "-c", "topic")
    git(changed, "commit", "-q", "-m", "More")
    traps(changed, mark)
    # The same size in the same second: git has to read the file again, through its filters.
    (changed / "a.py").write_text("one = 12\n")
    # The traps work: plain git runs them.
    subprocess.run(["git", "diff", "HEAD"], cwd=changed, capture_output=True, check=False)
    assert mark.exists(), "the traps are not armed, so this test would prove nothing"
    mark.unlink()
    repository = Repository(changed)
    assert "+one = 12" in "".join(source.text for source in repository.changes())
    repository.staged()
    repository.branch_changes("main")
    repository.subjects()
    assert not mark.exists(), mark.read_text()


def test_a_missing_object_is_not_fetched(changed: Path, tmp_path: Path) -> None:
    """A partial clone's missing blob must not start the transport that the repository names."""
    mark = tmp_path / "ran"
    program = tmp_path / "trap.sh"
    program.write_text(f"#!/bin/sh\necho ran >> {mark}\n")
    program.chmod(0o755)
    git(changed, "config", "core.repositoryFormatVersion", "1")
    git(changed, "config", "extensions.partialClone", "origin")
    git(changed, "config", "remote.origin.url", f"ext::{program}")
    git(changed, "config", "remote.origin.promisor", "true")
    git(changed, "config", "protocol.ext.allow", "always")
    blob = subprocess.run(
        ["git", "rev-parse", "HEAD:a.py"], cwd=changed, capture_output=True, text=True, check=True
    ).stdout.strip()
    (changed / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    subprocess.run(["git", "diff", "HEAD"], cwd=changed, capture_output=True, check=False)
    assert mark.exists(), "plain git does not fetch here, so this test would prove nothing"
    mark.unlink()
    with pytest.raises(UsageError):
        Repository(changed).changes()
    assert not mark.exists()


def test_a_hooks_environment_does_not_lead_elsewhere() -> None:
    kept = hardened({"GIT_DIR": "/elsewhere", "GIT_EXTERNAL_DIFF": "/x", "PATH": "/bin"})
    assert "GIT_DIR" not in kept
    assert "GIT_EXTERNAL_DIFF" not in kept
    assert kept["PATH"] == "/bin"


def test_commit_writes_a_message_and_commits_nothing(ai: Ai, port: int, changed: Path) -> None:
    done = ai("commit", port=port)
    assert (done.code, done.out) == (0, "Hello from the scripted model.\n")
    assert Repository(changed).subjects() == ("Begin with numbers",)


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
