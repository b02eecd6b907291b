"""Repositories made by the real git, and an index that no git would write."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

AUTHOR = ("-c", "user.name=T", "-c", "user.email=t@example.org")
SECONDS = 60


def plain(folder: Path, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """git as anybody calls it: with the repository's configuration."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return subprocess.run(
        ["git", *AUTHOR, *words],
        cwd=folder,
        env={**kept, "GIT_CONFIG_GLOBAL": "/dev/null", "LC_ALL": "C.UTF-8"},
        input=stdin,
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )


def git(folder: Path, *words: str, stdin: bytes = b"") -> str:
    """The same; it must succeed."""
    done = plain(folder, *words, stdin=stdin)
    assert done.returncode == 0, (words, done.stderr.decode(errors="replace"))
    return done.stdout.decode("utf-8", "surrogateescape").strip()


def make(folder: Path, *options: str) -> Path:
    """One commit on main, one on topic; then b.py is staged and a.py changed."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main", *options)
    (folder / "a.py").write_text("one = 1\n")
    (folder / "b.py").write_text("two = 2\n")
    (folder / "sub").mkdir()
    (folder / "sub" / "c.py").write_text("three = 3\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "Begin with numbers")
    git(folder, "switch", "-q", "-c", "topic")
    (folder / "sub" / "c.py").write_text("three = 33\n")
    git(folder, "commit", "-q", "-a", "-m", "More of three")
    (folder / "b.py").write_text("two = 22\n")
    git(folder, "add", "b.py")
    (folder / "a.py").write_text("one = 11\n")
    return folder


def write_index(folder: Path, names: list[bytes], blob: str) -> None:
    """An index (version 2, gitformat-index(5)) that holds ``names`` as they are."""
    body = struct.pack(">4sLL", b"DIRC", 2, len(names))
    for name in sorted(names):
        entry = struct.pack(">10L", 0, 0, 0, 0, 0, 0, 0o100644, 0, 0, 0)
        entry += bytes.fromhex(blob) + struct.pack(">H", min(len(name), 0xFFF)) + name
        body += entry + b"\0" * (8 - len(entry) % 8)
    (folder / ".git" / "index").write_bytes(body + hashlib.sha1(body).digest())
