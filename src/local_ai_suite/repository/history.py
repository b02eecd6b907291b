"""A repository's files and commits, as git tells them out of a shadow."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local_ai_suite.errors import UsageError
from local_ai_suite.messages import tr

from .shadow import open_shadow
from .worktree import head, references, shallow_commits, uses_sha256

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .shadow import Shadow
    from .worktree import Worktree


@dataclass(frozen=True, slots=True)
class Commit:
    """``date``: the author's day, YYYY-MM-DD."""

    hash: str
    date: str
    subject: str


@contextmanager
def borrow(worktree: Worktree, program: Path | None = None) -> Iterator[Shadow]:
    """A shadow with the objects of ``worktree``; no reference, index or file of it is there yet."""
    sha256 = uses_sha256(worktree)
    with open_shadow(
        worktree.objects, sha256=sha256, outside=worktree.root, program=program
    ) as shadow:
        if cut := shallow_commits(worktree):
            (shadow.folder / "shallow").write_text("\n".join(cut) + "\n", encoding="ascii")
        yield shadow


def files_at(worktree: Worktree, commit: str) -> tuple[str, ...] | None:
    """All paths of the commit's tree, sorted; ``None`` when git can't tell."""
    try:
        with borrow(worktree) as shadow:
            out = shadow.git("ls-tree", "-r", "-z", "--name-only", "--full-tree", commit)
    except UsageError:
        return None
    return tuple(sorted(path for path in out.decode("utf-8", "replace").split("\0") if path))


def log_at(worktree: Worktree, commit: str, count: int) -> list[Commit]:
    """The newest ``count`` commits, newest first; empty when git can't tell."""
    try:
        with borrow(worktree) as shadow:
            form = "--format=%H%x1f%ad%x1f%s"
            out = shadow.git("log", f"-{count}", form, "--date=short", commit, "--")
    except UsageError:
        return []
    lines = (line.split("\x1f") for line in out.decode("utf-8", "replace").splitlines())
    return [Commit(*fields) for fields in lines if len(fields) == 3]


def subjects(worktree: Worktree, count: int = 8) -> tuple[str, ...]:
    """The latest commits' first lines: the style to follow."""
    commit, _ = head(worktree)
    return tuple(one.subject for one in log_at(worktree, commit, count)) if commit else ()


def resolve(worktree: Worktree, shadow: Shadow, name: str) -> str:
    """The commit that ``name`` means: a branch, a tag, a hash, ``HEAD~2``.

    Raises :class:`UsageError` when it means none. Reflogs and a branch's upstream are not read.
    """
    commit, _ = head(worktree)
    shadow.add_references(references(worktree), commit)
    # --end-of-options: a name that starts with a dash is a name.
    words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    done = None if "\0" in name else shadow.try_git(*words)
    if done is None or done.code:
        raise UsageError(
            tr("{name!r} is no revision of {root}", name=name, root=worktree.root),
            hint=tr("Name a branch, a tag or a commit: `lais ai review main`."),
        )
    return done.out.decode().strip()
