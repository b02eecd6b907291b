"""What becomes of a child's words: a bounded end in memory, a bounded file, never an obstacle.

A full disk must not stop the child: its log is what we can spare.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TAIL_LINES = 400
LONGEST_LINE = 4_000
LARGEST_LOG = 5 * 1024 * 1024
# A service's own file; emptied when it grows past this, so that a busy one can't fill a disk.
LARGEST_OWN_LOG = 64 * 1024 * 1024
BOUND_EVERY_SECONDS = 5.0
_CHUNK = 64 * 1024
_TAIL_BYTES = 64 * 1024


class Output(Protocol):
    """Where a child's stdout and stderr go. ``open`` once, ``read`` while it lives."""

    def open(self) -> int:
        """The descriptor for the child; the caller closes it. Raises :class:`OSError`."""

    async def read(self) -> None:
        """Until the output's end, or until :meth:`finish`."""

    def finish(self) -> None:
        """The child is gone; what it has written already is still read."""

    def close(self) -> None:
        """Nothing more is written to the file."""

    def tail(self, lines: int) -> list[str]:
        """The last lines, oldest first."""


class PipedLog:
    """The child writes into a pipe; ``on_line`` sees each line, ``path`` gets everything.

    The file has mode 600, and the one before is kept as ``.1`` beyond 5 MiB.
    """

    def __init__(self, path: Path | None, on_line: Callable[[str], None] | None) -> None:
        self._path = path
        self._on_line = on_line
        self._lines: deque[str] = deque(maxlen=TAIL_LINES)
        self._rest = b""
        self._written = 0
        self._file: int | None = None
        self._reader: int | None = None
        with contextlib.suppress(OSError):
            self._file = self._open_file() if path else None

    def _open_file(self) -> int:
        assert self._path is not None  # noqa: S101
        descriptor = open_log(self._path)
        self._written = os.fstat(descriptor).st_size
        return descriptor

    def open(self) -> int:
        self._reader, writer = os.pipe()
        return writer

    async def read(self) -> None:
        """Read the pipe to its end.

        Not with ``connect_read_pipe``: uvloop closes such a descriptor twice (libuv's handle, then
        the file object), and a thread that opens a file in between loses it. Seen in a soak as
        "Bad file descriptor" on an accepted connection.
        """
        descriptor, self._reader = self._reader, None
        assert descriptor is not None  # noqa: S101
        os.set_blocking(descriptor, False)
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def take() -> None:
            try:
                chunk = os.read(descriptor, _CHUNK)
            except BlockingIOError:
                return
            except OSError:
                chunk = b""
            if chunk:
                self._feed(chunk)
            else:
                loop.remove_reader(descriptor)
                ended.set()

        loop.add_reader(descriptor, take)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            if self._rest:
                self._add(self._rest)

    def _feed(self, chunk: bytes) -> None:
        self._write(chunk)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._add(line)
        if len(self._rest) > LONGEST_LINE:
            self._add(self._rest)
            self._rest = b""

    def _add(self, raw: bytes) -> None:
        line = raw[:LONGEST_LINE].decode("utf-8", "replace").rstrip("\r")
        self._lines.append(line)
        if self._on_line is not None:
            self._on_line(line)

    def _write(self, chunk: bytes) -> None:
        if self._file is None or self._path is None:
            return
        with contextlib.suppress(OSError):
            if self._written + len(chunk) > LARGEST_LOG:
                # Forgotten first: a closed number soon means somebody else's file or socket.
                full, self._file = self._file, None
                os.close(full)
                self._path.replace(self._path.with_name(self._path.name + ".1"))
                self._file = self._open_file()
            self._written += os.write(self._file, chunk)

    def tail(self, lines: int) -> list[str]:
        return list(self._lines)[-lines:] if lines > 0 else []

    def finish(self) -> None:
        """The pipe ends with its last writer."""

    def close(self) -> None:
        for descriptor in (self._file, self._reader):
            if descriptor is not None:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        self._file = self._reader = None


class OwnLog:
    """The child writes into its file itself, so that it can outlive who started it.

    With a pipe it would stand still when its reader does, and fail when that is gone. A file that
    cannot be opened (a full disk) is replaced by ``/dev/null``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._finished = asyncio.Event()

    def open(self) -> int:
        """A descriptor for the child's output."""
        try:
            return open_log(self._path)
        except OSError:
            return os.open(os.devnull, os.O_WRONLY)

    async def read(self) -> None:
        """Nothing is read; the file is kept below its bound."""
        while not self._finished.is_set():
            with contextlib.suppress(OSError):
                if self._path.stat().st_size > LARGEST_OWN_LOG:
                    os.truncate(self._path, 0)  # opened with O_APPEND, so writing goes on
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BOUND_EVERY_SECONDS):
                    await self._finished.wait()

    def finish(self) -> None:
        """The child has ended: stop keeping its file small."""
        self._finished.set()

    def close(self) -> None:
        """The file is the child's."""

    def tail(self, lines: int) -> list[str]:
        """The file's last non-empty lines."""
        return file_tail(self._path, lines)


def open_log(path: Path) -> int:
    """A descriptor that appends to ``path``, mode 600. Raises :class:`OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def file_tail(path: Path, lines: int) -> list[str]:
    """The last non-empty ``lines`` of a text file, read from its end; none if it can't be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    found = [line.rstrip() for line in text.splitlines() if line.strip()]
    return found[-lines:] if lines > 0 else []
