"""A program on a pseudo-terminal, as a person sees and types it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 60.0  # a Python start on a busy machine, several times over


class Screen:
    """A program on a pseudo-terminal, as a person sees and types it."""

    def __init__(
        self,
        words: list[str],
        environ: dict[str, str],
        rows: int = 200,
        folder: Path | None = None,
    ) -> None:
        self.seen = ""
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.chdir(folder or "/")
            os.execve(words[0], words, environ)

        size = struct.pack("HHHH", rows, 120, 0, 0)
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, size)

    def wait_for(self, *texts: str) -> str:
        """Read until one of ``texts`` stands on the screen."""
        end = time.monotonic() + SECONDS
        text = " or ".join(texts)
        while not any(text in self.seen for text in texts):
            left = end - time.monotonic()
            assert left > 0, f"{text!r} never came; the screen: {self.seen[-3000:]}"
            if select.select([self.descriptor], [], [], left)[0]:
                try:
                    raw = os.read(self.descriptor, 65536)
                except OSError:
                    raw = b""
                assert raw, f"ended without {text!r}; the screen: {self.seen[-3000:]}"
                self.seen += raw.decode("utf-8", "replace")
        return self.seen

    def type(self, text: str) -> None:
        self.seen = ""
        os.write(self.descriptor, text.encode())

    def end(self) -> int:
        """Read what is left and return the exit code."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            if select.select([self.descriptor], [], [], 0.2)[0]:
                try:
                    raw = os.read(self.descriptor, 65536)
                except OSError:
                    break
                if not raw:
                    break
                self.seen += raw.decode("utf-8", "replace")
        _, status = os.waitpid(self.pid, 0)
        os.close(self.descriptor)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def kill(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            os.close(self.descriptor)
