"""Making a branch in a repository without git reading its configuration.

``git update-ref`` runs the repository's hooks and fetches what a partial clone lacks, from where
its configuration says. So the reference is written here, by git's own protocol for files
(refs/files-backend.c): take ``NAME.lock`` exclusively, look that the name is free (among the loose
and the packed ones, and no branch above or below it), append to the reflog, rename the lock.
"""

from __future__ import annotations

import os
import socket
import stat
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from local_ai_suite.errors import UsageError
from local_ai_suite.messages import tr
from local_ai_suite.repository.history import borrow
from local_ai_suite.repository.worktree import configuration, find_worktree, packed_references

from .places import user, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from local_ai_suite.repository.worktree import Worktree

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SHARED = 0o666  # less the umask, as git makes its own files


class NotMade(Exception):
    """The branch was not made, and nothing of it is left."""


def make_branch(folder: Path, branch: str, commit: str, *, git: Path) -> None:
    """A new branch at ``commit`` in the repository around ``folder``.

    ``branch``: without ``refs/heads/``, already checked. ``git`` is the program that looks whether
    the commit is there, in a shadow. Raises :class:`NotMade`.
    """
    try:
        worktree = find_worktree(folder)
        if worktree is None:
            raise NotMade(tr("{folder} is not in a git repository", folder=folder))
        _check_commit(worktree, commit, git)
    except UsageError as exc:
        raise NotMade(exc.message) from exc
    if (worktree.common / "reftable").is_dir():
        raise NotMade(
            tr(
                "this repository stores its references as reftable, which is not written here; "
                "make it yourself: git branch {branch} {commit}",
                branch=branch,
                commit=commit,
            )
        )
    logged = configuration(worktree).get("core.logallrefupdates", "true").lower() != "false"
    *above, name = f"refs/heads/{branch}".split("/")
    common = os.open(worktree.common, _FOLDER)
    try:
        with _folder(common, above, branch) as here, _locked(here, name) as lock:
            _check_free(worktree, branch, here, name)
            write_whole(lock, f"{commit}\n".encode())
            os.fsync(lock)
            if logged:
                _log(common, branch, commit)
            os.rename(f"{name}.lock", name, src_dir_fd=here, dst_dir_fd=here)
            os.fsync(here)
    except OSError as exc:
        raise NotMade(
            tr("the branch could not be written: {reason}", reason=exc.strerror or exc)
        ) from exc
    finally:
        os.close(common)


def _check_commit(worktree: Worktree, commit: str, git: Path) -> None:
    with borrow(worktree, git) as shadow:
        kind = shadow.try_git("cat-file", "-t", commit)
    if kind.out.strip() != b"commit":
        raise NotMade(
            tr("{commit} is no commit in this repository; nothing was fetched", commit=commit)
        )


@contextmanager
def _folder(start: int, parts: list[str], branch: str) -> Iterator[int]:
    """The folder ``parts`` below ``start``, made where it isn't there, through no link."""
    here = os.dup(start)
    try:
        for number, part in enumerate(parts, 1):
            with suppress(FileExistsError):
                os.mkdir(part, dir_fd=here)
            try:
                inner = os.open(part, _FOLDER, dir_fd=here)
            except NotADirectoryError as exc:
                there = "/".join(parts[2:number])
                raise NotMade(_in_the_way(there, branch)) from exc
            os.close(here)
            here = inner
        yield here
    finally:
        os.close(here)


@contextmanager
def _locked(folder: int, name: str) -> Iterator[int]:
    """git's lock on one reference; it is gone afterwards, by a rename or removed here."""
    lock = f"{name}.lock"
    try:
        descriptor = os.open(lock, _NEW, _SHARED, dir_fd=folder)
    except FileExistsError as exc:
        raise NotMade(
            tr(
                "another git is at work on this branch ({lock} is there); if none is, remove that "
                "file",
                lock=lock,
            )
        ) from exc
    made = os.fstat(descriptor)
    try:
        yield descriptor
    finally:
        with suppress(OSError):
            left = os.stat(lock, dir_fd=folder, follow_symlinks=False)
            if (left.st_dev, left.st_ino) == (made.st_dev, made.st_ino):
                os.unlink(lock, dir_fd=folder)
        os.close(descriptor)


def _check_free(worktree: Worktree, branch: str, folder: int, name: str) -> None:
    with suppress(FileNotFoundError):
        if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise NotMade(tr("there is a branch {branch} already", branch=branch))
        _remove_empty(folder, name, branch)
    full = f"refs/heads/{branch}"
    for other in packed_references(worktree):
        if other == full:
            raise NotMade(tr("there is a branch {branch} already", branch=branch))
        if other.startswith(f"{full}/") or full.startswith(f"{other}/"):
            there = other.removeprefix("refs/heads/")
            raise NotMade(_in_the_way(there, branch))


def _in_the_way(there: str, branch: str) -> str:
    return tr("there is a branch {there}, so {branch} can't be made", there=there, branch=branch)


def _remove_empty(folder: int, name: str, branch: str) -> None:
    """Folders that deleted branches left in the way, as git removes them."""
    try:
        for _, inner, _, here in os.fwalk(name, topdown=False, dir_fd=folder):
            for one in inner:
                os.rmdir(one, dir_fd=here)
        os.rmdir(name, dir_fd=folder)
    except OSError as exc:
        raise NotMade(
            tr("there are branches below {branch}, so it can't be made", branch=branch)
        ) from exc


def _log(common: int, branch: str, commit: str) -> None:
    """The reflog's first line, as git writes it (gitformat: old, new, who, when, what)."""
    *above, name = f"logs/refs/heads/{branch}".split("/")
    now = time.localtime()
    offset = time.strftime("%z", now)
    # git's own fallback: whose name the configuration gives is not asked.
    login = user()
    who = f"{login} <{login}@{socket.gethostname()}>"
    line = f"{'0' * len(commit)} {commit} {who} {int(time.mktime(now))} {offset}\tlais plan\n"
    here = os.dup(common)
    try:
        for part in above:
            with suppress(FileExistsError):
                os.mkdir(part, dir_fd=here)
            inner = os.open(part, _FOLDER, dir_fd=here)
            os.close(here)
            here = inner
        with suppress(FileNotFoundError):
            if stat.S_ISDIR(os.stat(name, dir_fd=here, follow_symlinks=False).st_mode):
                _remove_empty(here, name, branch)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, _SHARED, dir_fd=here)
        try:
            write_whole(descriptor, line.encode())
        finally:
            os.close(descriptor)
    finally:
        os.close(here)
