"""A person at a terminal says yes: the only place where a :class:`Presence` is made.

Standard input and output must be one terminal. What was typed before the question is thrown away,
so that nothing pasted or piped ahead can answer it. A CRITICAL request wants a code back that is
made here, shown on this terminal and kept nowhere.
"""

from __future__ import annotations

import os
import secrets
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from local_ai_suite.errors import ApprovalError
from local_ai_suite.messages import say, tr

from .policy import Level

if TYPE_CHECKING:
    from .display import Display
    from .store import Request

_CODE_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
_CODE_LENGTH = 6
WORD = "approve"
_LONGEST_LINE = 4096  # what the kernel keeps of one typed line


@dataclass(frozen=True, slots=True)
class Presence:
    """Proof of a decision: who, at which terminal, for which request, up to which level."""

    request_id: str
    level: Level
    who: str


class Terminal:
    """The terminal behind ``stdin`` and ``stdout``.

    Raises :class:`ApprovalError` when they aren't one terminal.
    """

    def __init__(self, stdin: TextIO | None = None, stdout: TextIO | None = None) -> None:
        self._in = stdin or sys.stdin
        self._out = stdout or sys.stdout
        try:
            names = {os.ttyname(stream.fileno()) for stream in (self._in, self._out)}
        except (OSError, ValueError):
            names = set()
        if len(names) != 1:
            raise ApprovalError(
                tr("approving wants a person at a terminal, and this is none"),
                hint=tr("Run it in a terminal, without pipes or redirections."),
            )
        self.name = names.pop()

    @property
    def size(self) -> os.terminal_size:
        """Columns and lines of the screen; 80 by 24 where nobody knows."""
        try:
            size = os.get_terminal_size(self._out.fileno())
        except OSError:
            size = os.terminal_size((0, 0))
        return size if size.columns and size.lines else os.terminal_size((80, 24))

    def confirm(self, request: Request, shown: Display, level: Level, user: str) -> Presence | None:
        """Show everything, ask, and return the proof; ``None`` when the person says no."""
        if not shown.complete:
            self._page(shown)
            raise ApprovalError(
                tr(
                    "request {id} is too large to be shown whole, so it can't be approved",
                    id=request.id,
                ),
                hint=tr("Ask for something smaller."),
            )
        if not self._page(shown):
            return None
        if level is Level.CRITICAL:
            code = "".join(secrets.choice(_CODE_ALPHABET) for _ in range(_CODE_LENGTH))
            wanted = code
            question = say("CRITICAL. To approve it, type this code: {code}\n> ", code=code)
        else:
            wanted = WORD
            question = say(
                "To approve it, type {word}; anything else leaves it waiting.\n> ", word=WORD
            )
        if self.ask(question).strip() != wanted:
            return None
        return Presence(request.id, level, f"{user}@{self.name}")

    def one_key(
        self, request: Request, shown: Display, level: Level, user: str
    ) -> tuple[str, Presence | None]:
        """Show everything and wait for one key: ``a`` approves, ``r`` rejects, others leave it.

        Never for CRITICAL, nor for what was cut: those can't be approved by a key.
        """
        whole = self._page(shown)
        can = whole and shown.complete and level is not Level.CRITICAL
        question = (
            say("a approve, r reject, any other key later: ")
            if can
            else say("r reject, any other key later: ")
        )
        key = self._key(question).lower()
        self._out.write(f"{key if key.isalpha() else ''}\n")
        self._out.flush()
        if key == "a" and can:
            return key, Presence(request.id, level, f"{user}@{self.name}")
        return (key if key == "r" else ""), None

    def _key(self, question: str) -> str:
        """One key, typed after the question stood there."""
        import termios  # noqa: PLC0415 (see _forget_typed)
        import tty  # noqa: PLC0415

        descriptor = self._in.fileno()
        before = termios.tcgetattr(descriptor)
        try:
            tty.setcbreak(descriptor)  # Ctrl-C stays a signal; what was typed before is dropped
            self._out.write(question)
            self._out.flush()
            return os.read(descriptor, 1).decode("ascii", "replace")
        finally:
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)

    def ask(self, question: str) -> str:
        """One line, typed after the question stood there. The end of input is an empty answer."""
        self._forget_typed()
        self._out.write(question)
        self._out.flush()
        # From the terminal itself: Python's own buffer could hold a second line for the next
        # question. In the terminal's line mode one read is one line.
        return os.read(self._in.fileno(), _LONGEST_LINE).decode("utf-8", "replace")

    def _page(self, shown: Display) -> bool:
        """Screen by screen, so that nothing scrolls away unseen; False when the person stops."""
        rows_per_screen = max(5, self.size.lines - 2)
        for start in range(0, len(shown.rows), rows_per_screen):
            if start:
                answer = self.ask(
                    say(
                        "-- {rows} more rows: Enter, or q to stop -- ", rows=len(shown.rows) - start
                    )
                )
                if answer.strip().lower() == "q" or not answer:
                    return False
            self._out.write("\n".join(shown.rows[start : start + rows_per_screen]) + "\n")
        self._out.flush()
        return True

    def _forget_typed(self) -> None:
        import termios  # noqa: PLC0415 (there is none on Windows, where this code isn't reached)

        termios.tcflush(self._in.fileno(), termios.TCIFLUSH)
