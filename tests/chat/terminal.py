"""A pseudo-terminal with a program in it, driven as a person would."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

_PATIENCE = 12.0  # seconds; a busy machine starts Python in two
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|\x1b[@-Z\\-_=>]|[\r\x00]")


class Terminal:
    """``expect`` waits for words on the screen (escape sequences removed), ``type`` types."""

    def __init__(self, command: Sequence[str], env: dict[str, str]) -> None:
        self._screen, inside = pty.openpty()
        termios.tcsetwinsize(inside, (40, 100))
        self._process = subprocess.Popen(
            command, stdin=inside, stdout=inside, stderr=inside, start_new_session=True,
            preexec_fn=lambda: _controlled_by(0),  # noqa: PLW1509 (a terminal needs it)
            env={**env, "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1", "NO_COLOR": "1"},
        )  # fmt: skip
        os.close(inside)
        self.seen = ""
        self._from = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(_PATIENCE)
        os.close(self._screen)

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def enter(self, line: str) -> None:
        self.type(line)
        self.type("\r")

    def ctrl_c(self) -> None:
        self.type("\x03")

    @property
    def echoes(self) -> bool:
        """Whether what is typed is shown: off while a program reads single keys."""
        return bool(termios.tcgetattr(self._screen)[3] & termios.ECHO)

    def kill(self, number: signal.Signals) -> None:
        """To the program alone, as ``kill`` does."""
        os.kill(self._process.pid, number)

    def expect(self, words: str) -> str:
        """Wait for ``words`` after what was expected before; what came until then."""
        end = time.monotonic() + _PATIENCE
        while (at := self.seen.find(words, self._from)) < 0:
            left = end - time.monotonic()
            assert left > 0, f"{words!r} did not come; on the screen:\n{self.seen[self._from :]}"
            assert self._read(left), f"it ended before {words!r}; on the screen:\n{self.seen}"
        before = self.seen[self._from : at]
        self._from = at + len(words)
        return before

    def ends(self) -> int:
        """Wait for the program's end; its exit code."""
        end = time.monotonic() + _PATIENCE
        while self._read(0.2) and time.monotonic() < end:
            pass
        return self._process.wait(_PATIENCE)

    def _read(self, seconds: float) -> bool:
        if select.select([self._screen], [], [], seconds)[0]:
            try:
                data = os.read(self._screen, 65_536)
            except OSError:  # Linux: the other side is closed
                return False
            if not data:
                return False
            self.seen += _ESCAPES.sub("", data.decode("utf-8", "replace"))
        return self._process.poll() is None or seconds > 0.2


def _controlled_by(descriptor: int) -> None:
    """Make the terminal the session's own, so that Ctrl-C sends SIGINT."""
    import fcntl

    fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)
