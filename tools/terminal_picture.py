"""A picture of the terminal, from commands that are really run.

    python tools/terminal_picture.py docs/start/up.svg "make up-p1" "lais ai 'What is a GGUF file?'"

Each command runs on a pseudo-terminal of its own in the project's folder; `lais` is the project's.
The first that fails ends it, and no picture is written. The picture names no font of another host.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import shlex
import struct
import sys
import termios
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

PROJECT = Path(__file__).resolve().parents[1]
COLUMNS, ROWS = 88, 60
# Rich's own frame loads a font from a content network: a picture must not.
FRAME = re.sub(r" *@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
_PIECE = re.compile(r"\n|\r|\x1b\[([0-9;?]*)([A-Za-z])|[^\n\r\x1b]+")


def run(command: str) -> str:
    """What ``command`` writes to a terminal. Raises :class:`SystemExit` when it fails."""
    pid, screen = pty.fork()
    if pid == 0:
        os.chdir(PROJECT)
        path = f"{PROJECT / '.venv' / 'bin'}:{os.environ['PATH']}"
        os.execvpe("sh", ["sh", "-c", f"exec {command}"], {**os.environ, "PATH": path})
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    seen = b""
    while piece := read(screen):
        seen += piece
    _, status = os.waitpid(pid, 0)
    if code := os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{command!r} ended with {code}:\n{seen.decode()}")
    return seen.decode("utf-8")


def read(screen: int) -> bytes:
    try:
        return os.read(screen, 65536)
    except OSError:  # Linux says so when the program has closed its side
        return b""


def lines(written: str) -> list[str]:
    """The lines that stay, as far as progress displays need it: up, start of line, erase."""
    screen, row = [""], 0
    begun = True  # at the start of a line: what is written next replaces it
    for piece in _PIECE.finditer(written.replace("\r\n", "\n")):
        text, count, move = piece[0], piece[1], piece[2]
        if text == "\n":
            row, begun = row + 1, True
            screen += [""] * (row + 1 - len(screen))
        elif text == "\r":
            begun = True
        elif move == "A":
            row = max(0, row - int(count or 1))
        elif move == "K":
            screen[row] = ""
        elif move in {None, "m"}:
            screen[row] = text if begun else screen[row] + text
            begun = False
    return "\n".join(screen).strip("\n").split("\n")


def picture(commands: list[str]) -> str:
    """The SVG of all commands, one after the other."""
    console = Console(
        record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, legacy_windows=False
    )
    for command in commands:
        console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
        for line in lines(run(command)):
            console.print(Text.from_ansi(line))
        console.print()
    return console.export_svg(title="Local AI Suite", code_format=FRAME, unique_id="lais")


if __name__ == "__main__":
    target, *words = sys.argv[1:]
    if not words:
        raise SystemExit(f"usage: {shlex.join(sys.argv[:1])} FILE.svg COMMAND ...")
    Path(target).write_text(picture(words), encoding="utf-8")
