"""Reading files of a repository: beneath its folder, through no link, so many bytes and no more."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

# O_NONBLOCK: a named pipe in a file's place is opened at once, and then refused.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER = _READ | os.O_DIRECTORY


def read_bytes(path: Path, most: int) -> bytes | None:
    """A regular file's bytes; ``None`` when it isn't one, can't be read or holds over ``most``.

    Links are followed: use it where what is read must have one narrow form, such as a hash.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    with os.fdopen(descriptor, "rb") as file:
        return _whole(descriptor, most) if file else None


class WorkingFiles:
    """The files beneath ``root``, by git's paths (bytes, with forward slashes).

    Each folder on the way is opened for itself, relative to the one before and never through a
    link, so that nothing that is exchanged meanwhile leads out. Close it, or use ``with``.
    """

    def __init__(self, root: Path) -> None:
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._open: tuple[bytes, int] | None = None  # the folder of the last path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the folders."""
        self._forget()
        os.close(self._root)

    def status(self, path: bytes) -> os.stat_result | None:
        """What ``lstat`` says; ``None`` for what isn't there, or only through a link."""
        folder, name = self._parent(path)
        if folder is None:
            return None
        try:
            return os.stat(name, dir_fd=folder, follow_symlinks=False)
        except (OSError, ValueError):
            return None

    def read(self, path: bytes, most: int) -> bytes | None:
        """A regular file's whole content; ``None`` when it is none or holds over ``most`` bytes."""
        descriptor = self._file(path)
        if descriptor is None:
            return None
        try:
            return _whole(descriptor, most)
        finally:
            os.close(descriptor)

    def start(self, path: bytes, most: int) -> bytes | None:
        """The first ``most`` bytes of a regular file; ``None`` when it is none."""
        descriptor = self._file(path)
        if descriptor is None:
            return None
        with os.fdopen(descriptor, "rb") as file, suppress(OSError):
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return file.read(most)
        return None

    def link(self, path: bytes) -> bytes | None:
        """Where a symbolic link points; ``None`` when it is none."""
        folder, name = self._parent(path)
        if folder is None:
            return None
        try:
            return os.readlink(name, dir_fd=folder)
        except (OSError, ValueError):
            return None

    def _file(self, path: bytes) -> int | None:
        folder, name = self._parent(path)
        if folder is None:
            return None
        try:
            return os.open(name, _READ, dir_fd=folder)
        except (OSError, ValueError):
            return None

    def _parent(self, path: bytes) -> tuple[int | None, bytes]:
        """The open folder that ``path`` lies in, and the last name."""
        before, _, name = path.rpartition(b"/")
        if not is_plain_path(path):
            return None, name
        if self._open is None or self._open[0] != before:
            self._forget()
            here = os.dup(self._root)
            try:
                for part in before.split(b"/") if before else ():
                    inner = os.open(part, _FOLDER, dir_fd=here)
                    os.close(here)
                    here = inner
            except (OSError, ValueError):
                os.close(here)
                return None, name
            self._open = (before, here)
        return self._open[1], name

    def _forget(self) -> None:
        if self._open is not None:
            os.close(self._open[1])
            self._open = None


def is_plain_path(path: bytes) -> bool:
    """Whether it goes down only, and not into a ``.git``."""
    parts = path.split(b"/")
    return b"\0" not in path and not any(
        part in {b"", b".", b".."} or part.lower() == b".git" for part in parts
    )


def _whole(descriptor: int, most: int) -> bytes | None:
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > most:
            return None
        parts, left = [], most + 1
        while left > 0 and (chunk := os.read(descriptor, min(left, 1 << 20))):
            parts.append(chunk)
            left -= len(chunk)
    except OSError:
        return None
    return b"".join(parts) if left > 0 else None
