"""Logging: a quiet console, a full log in a private file per run."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_KEPT_RUNS = 20


def log_to_file(folder: Path, name: str) -> Path:
    """Send all log records of this process to ``folder/name-PID.log``, mode 600.

    Older files of the same name are removed but for the newest 20.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    old = sorted(folder.glob(f"{name}-*.log"), key=_written_at)
    for file in old[:-_KEPT_RUNS]:
        file.unlink(missing_ok=True)
    path = folder / f"{name}-{os.getpid()}.log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    stream = os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter(_FORMAT))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    return path


def _written_at(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:  # another command has just removed it
        return 0.0


def log_to_stderr(level: int = logging.INFO) -> None:
    """For services: their stderr is the service's log file. From now on no write to it, nor to
    stdout, can fail: a full disk or a reader that is gone costs words, not the service.
    """
    sys.stdout, sys.stderr = _unfailing(1), _unfailing(2)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(_FORMAT))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level)


class _Unfailing(io.RawIOBase):
    """Writes to a descriptor; what cannot be written is dropped."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def write(self, data: Any) -> int:
        with contextlib.suppress(OSError):
            return os.write(self._descriptor, data)
        return len(data)


def _unfailing(descriptor: int) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(_Unfailing(descriptor)),
        encoding="utf-8",
        errors="backslashreplace",
        line_buffering=True,
    )
