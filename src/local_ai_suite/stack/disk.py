"""Whether a folder can be written to at all: what often ends a program, and passes."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = b"\0" * 4096
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def disk_trouble(folder: Path) -> str:
    """Why nothing can be written to ``folder``, as the end of a sentence; empty when it can."""
    trial = folder / f".trial-{os.getpid()}"
    try:
        descriptor = os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, _BLOCK)
        finally:
            os.close(descriptor)
            trial.unlink(missing_ok=True)
    except OSError as exc:
        if exc.errno in _FULL:
            return f"the disk of {folder} is full"
        return f"{folder} cannot be written: {exc.strerror}"
    return ""
