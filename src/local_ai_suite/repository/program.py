"""Starting git or gh: which file it is, and how long and how much it may answer."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CHUNK = 1 << 16
_MOST_ERRORS = 8192  # bytes of stderr that are kept
_LONGEST_REASON = 300


@dataclass(frozen=True, slots=True)
class Done:
    """``code``: the exit code, negative for a signal. ``cut``: it was stopped, its answer was
    larger than allowed."""

    code: int
    out: bytes
    err: str
    cut: bool = False

    @property
    def reason(self) -> str:
        """The first line of stderr, fit for a terminal; empty when it said nothing."""
        line = next((line for line in self.err.splitlines() if line.strip()), "")
        signs = (sign if sign.isprintable() else f"\\x{ord(sign):02x}" for sign in line.strip())
        return "".join(signs)[:_LONGEST_REASON]


def search_path(outside: Path | None = None, path: str | None = None) -> str:
    """The absolute folders of ``path`` (default: PATH) that don't lie in ``outside``.

    An entry such as ``.`` or an empty one means the current folder, and a folder inside of a
    repository belongs to who wrote the repository: a program planted there is not ours to run.
    """
    kept = []
    path = os.environ.get("PATH", os.defpath) if path is None else path
    for entry in path.split(os.pathsep):
        folder = Path(entry)
        inside = outside is not None and folder.resolve().is_relative_to(outside.resolve())
        if folder.is_absolute() and not inside:
            kept.append(entry)
    return os.pathsep.join(kept)


def find_program(name: str, outside: Path | None = None) -> Path | None:
    """The executable ``name`` on :func:`search_path`, absolute; ``None`` when there is none."""
    for folder in search_path(outside).split(os.pathsep):
        path = Path(folder, name)
        if folder and path.is_file() and os.access(path, os.X_OK):
            return path
    return None


def run(
    command: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    seconds: float,
    most: int,
    stdin: bytes = b"",
) -> Done:
    """Run ``command`` in a session of its own; nothing of it is left when this returns.

    ``most``: bytes of standard output. Raises ``TimeoutError`` after ``seconds``, ``OSError`` when
    it can't be started.
    """
    with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as errors:
        asked.write(stdin)
        asked.seek(0)
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(environment),
            stdin=asked,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
        try:
            out, cut = _read(process, time.monotonic() + seconds, most)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
            if process.stdout:
                process.stdout.close()
        errors.seek(0)
        return Done(code, out, errors.read(_MOST_ERRORS).decode("utf-8", "replace"), cut)


def _read(process: subprocess.Popen[bytes], end: float, most: int) -> tuple[bytes, bool]:
    """Standard output until its end and the process's, and whether there was too much of it."""
    assert process.stdout is not None  # noqa: S101 (for the type checker: PIPE was asked for)
    parts: list[bytes] = []
    size = 0
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            left = end - time.monotonic()
            if left <= 0 or not selector.select(left):
                raise TimeoutError(f"{process.args!r} did not end in time")
            chunk = os.read(process.stdout.fileno(), _CHUNK)
            if not chunk:
                break
            size += len(chunk)
            if size > most:
                return b"".join(parts), True
            parts.append(chunk)
    try:
        process.wait(max(end - time.monotonic(), 0.1))
    except subprocess.TimeoutExpired as exc:
        raise TimeoutError(f"{process.args!r} did not end in time") from exc
    return b"".join(parts), False
