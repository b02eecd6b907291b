"""Ctrl-C is quiet also while Python still imports the program."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def importing() -> Iterator[None]:
    """Inside, Ctrl-C ends the process at once, as it ends a program that is not Python.

    A KeyboardInterrupt in the middle of an import would be thirty lines of traceback, and some
    extension modules don't survive it. Nothing has been begun yet that would want tidying up.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # somebody decided otherwise: `nohup`, a test, a program that imports us
        return
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    except ValueError:  # only the main thread may
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
