"""Whether a folder can be written to at all: what often ends a program, and passes."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from local_ai_suite.messages import tr

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
            return tr("the disk of {folder} is full", folder=folder)
        return tr("{folder} cannot be written: {strerror}", folder=folder, strerror=exc.strerror)
    return ""
