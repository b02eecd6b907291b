"""One execution of a request at a time, over all processes."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from local_ai_suite.errors import ApprovalError
from local_ai_suite.messages import tr

from .places import PRIVATE_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .places import Places


class StillRunning(ApprovalError):
    """Another process holds the execution's lock."""


@contextmanager
def running(places: Places, identity: str) -> Iterator[None]:
    """Hold the execution's lock; the kernel lets go of it when this process dies.

    Its file goes with it. Who opened the file before that may lock what has no name any more, so a
    lock counts only while the file is the one that has the name. Raises :class:`StillRunning`.
    """
    path = places.running / identity
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, PRIVATE_FILE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise StillRunning(
                tr("request {identity} is being run by another process", identity=identity),
                hint=tr("Wait, then look: `lais approvals show {id}`.", id=identity),
            ) from None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                break
        os.close(descriptor)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)
