"""Follow the services' log files, each line with its service's name."""

from __future__ import annotations

import os
import time
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FOLLOW_EVERY_S = 0.2
_TAIL_BYTES = 256 * 1024


def log_files(folder: Path) -> list[Path]:
    """The current log of each service, the supervisor's first."""
    files = sorted(folder.glob("*.log"), key=lambda file: (file.stem != "supervisor", file.stem))
    # Commands keep logs of their own (name-PID.log): those belong to no service.
    return [file for file in files if not file.stem.rpartition("-")[2].isdigit()]


# How far each service's file was read: its inode and the position.
Read = dict[str, tuple[int, int]]


def last_lines(folder: Path, count: int, read: Read | None = None) -> Iterator[tuple[str, str]]:
    """The last ``count`` lines of each service as ``(service, line)``.

    With ``read``, whole lines only, and it is told where each file's end was, for :func:`follow`.
    """
    for path in log_files(folder):
        try:
            with path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
                text = file.read()
                if read is not None:
                    whole = text.rfind(b"\n") + 1
                    read[path.stem] = (
                        os.fstat(file.fileno()).st_ino,
                        file.tell() - len(text) + whole,
                    )
                    text = text[:whole]
        except FileNotFoundError:  # a new run has just moved it away
            continue
        lines = text.decode("utf-8", errors="replace").splitlines()
        for line in lines[len(lines) - min(count, len(lines)) :]:
            yield path.stem, line


def follow(
    folder: Path, read: Read, *, sleep: Callable[[float], None] = time.sleep
) -> Iterator[tuple[str, str]]:
    """Lines after what ``read`` says, as they come, forever.

    Rotated, emptied and new files are picked up.
    """
    opened: dict[str, tuple[int, IO[bytes]]] = {}
    rest: dict[str, bytes] = {}
    while True:
        for path in log_files(folder):
            try:
                inode = path.stat().st_ino
                known = opened.get(path.stem)
                if known is None or known[0] != inode:
                    if known is not None:
                        # The last words before the rotation, also without a newline at their end.
                        words = rest.pop(path.stem, b"") + known[1].read()
                        known[1].close()
                        for line in words.splitlines():
                            yield path.stem, line.decode("utf-8", errors="replace")
                    file = path.open("rb")
                    before, position = read.pop(path.stem, (0, 0))
                    if before == inode:
                        file.seek(position)
                    opened[path.stem] = known = (inode, file)
                if known[1].tell() > path.stat().st_size:
                    known[1].seek(0)
            except FileNotFoundError:
                continue
            *lines, tail = (rest.get(path.stem, b"") + known[1].read()).split(b"\n")
            rest[path.stem] = tail
            for line in lines:
                yield path.stem, line.decode("utf-8", errors="replace")
        sleep(FOLLOW_EVERY_S)
