"""An empty git folder of ours, in which git runs instead of in the repository.

A repository's configuration and attributes name programs that ``git log``, ``status``, ``diff``
and ``update-ref`` run: monitors, filters, text converters, pagers, signature checks, hooks,
transports for objects that a partial clone lacks. Switching them off one by one was measured to
leave some open. Here git reads a configuration that we wrote, no attributes, no references but
those that are copied in, and the repository's objects through an alternate. What it can run is
what we name: nothing.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from local_ai_suite.errors import UsageError
from local_ai_suite.messages import tr

from .program import find_program, run, search_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .program import Done

# A large repository on a slow disk, and a hanging network drive must not hang us.
GIT_SECONDS = 30.0
MOST_OUTPUT = 64 * 1024 * 1024
# Blobs past this size are called binary and are not read whole; no model's context holds them.
_BIG_FILE = "8m"
_CONFIG = f"""[core]
\trepositoryformatversion = 1
\tbare = true
\thooksPath = /dev/null
\tquotePath = false
\tbigFileThreshold = {_BIG_FILE}
"""


@dataclass(frozen=True, slots=True)
class Shadow:
    """A git folder of ours at ``folder``; ``program`` is the git that works in it."""

    folder: Path
    program: Path
    path: str
    sha256: bool = False

    def git(self, *words: str, stdin: bytes = b"", most: int = MOST_OUTPUT) -> bytes:
        """What ``git WORDS`` writes. Raises :class:`UsageError` with its reason."""
        done = self.try_git(*words, stdin=stdin, most=most)
        if done.cut:
            raise UsageError(
                tr(
                    "git {command} answers with more than {size} MiB",
                    command=words[0],
                    size=most >> 20,
                ),
                hint=tr("Look at a part of it: `git diff PATH | lais ai 'review this'`."),
            )
        if done.code:
            raise UsageError(
                tr(
                    "git {command}: {reason}",
                    command=words[0],
                    reason=done.reason or tr("exit code {code}", code=done.code),
                ),
                hint=tr(
                    "Objects that a partial clone or a broken repository lacks are not fetched: "
                    "`git fsck` says what is missing."
                ),
            )
        return done.out

    def try_git(self, *words: str, stdin: bytes = b"", most: int = MOST_OUTPUT) -> Done:
        """The same, and the exit code is the caller's to judge. A timeout is a UsageError."""
        command = [str(self.program), "--literal-pathspecs", "--no-pager", *words]
        try:
            return run(
                command,
                cwd=self.folder,
                environment=self._environment(),
                seconds=GIT_SECONDS,
                most=most,
                stdin=stdin,
            )
        except TimeoutError as exc:
            raise UsageError(
                tr(
                    "git {command} took over {seconds:.0f} s",
                    command=words[0],
                    seconds=GIT_SECONDS,
                ),
                hint=tr("Is the disk reachable?"),
            ) from exc
        except OSError as exc:
            raise UsageError(
                tr("git could not be started: {reason}", reason=exc.strerror),
                hint=tr("Does `git version` work?"),
            ) from exc

    def add_object(self, kind: str, content: bytes) -> str:
        """Write a loose object here (never into the repository) and return its hash.

        The form is gitformat-loose's: zlib over ``KIND SIZE NUL CONTENT``.
        """
        raw = b"%s %d\0" % (kind.encode(), len(content)) + content
        digest = self.hash_of(raw)
        path = self.folder / "objects" / digest[:2] / digest[2:]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(zlib.compress(raw, 1))
        return digest

    def hash_of(self, raw: bytes) -> str:
        """The object's name, by the repository's kind of hash."""
        kind = hashlib.sha256 if self.sha256 else hashlib.sha1
        return kind(raw).hexdigest()

    def add_references(self, references: Mapping[str, str], head: str | None) -> None:
        """Let git know these references by their hashes, and ``head`` as a detached HEAD."""
        lines = "".join(f"{digest} {name}\n" for name, digest in sorted(references.items()))
        (self.folder / "packed-refs").write_bytes(os.fsencode(lines))
        if head is not None:
            (self.folder / "HEAD").write_text(f"{head}\n", encoding="ascii")

    def _environment(self) -> dict[str, str]:
        """Nothing of the caller's but the language of paths: a GIT_* of theirs leads elsewhere."""
        return {
            "PATH": self.path,
            "HOME": str(self.folder),
            "LC_ALL": "C.UTF-8",
            "GIT_DIR": str(self.folder),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": "none",
            "GIT_PAGER": "cat",
        }


@contextmanager
def open_shadow(
    objects: Path | None = None,
    *,
    sha256: bool = False,
    outside: Path | None = None,
    program: Path | None = None,
) -> Iterator[Shadow]:
    """A new shadow that borrows the object store ``objects``; removed at the end.

    ``outside``: the repository, in which git itself is not looked for. ``program``: the git to use
    instead of the one on PATH. Raises :class:`UsageError` when there is no git.
    """
    git = program or find_program("git", outside)
    if git is None:
        raise UsageError(tr("git is not installed"), hint=tr("Install git."))
    with tempfile.TemporaryDirectory(prefix="lais-git-") as name:
        folder = Path(name)
        (folder / "refs").mkdir()
        (folder / "objects" / "info").mkdir(parents=True)
        (folder / "HEAD").write_text("ref: refs/heads/none\n", encoding="ascii")
        kind = "[extensions]\n\tobjectformat = sha256\n" if sha256 else ""
        (folder / "config").write_text(_CONFIG + kind, encoding="ascii")
        if objects is not None:
            (folder / "objects" / "info" / "alternates").write_bytes(_quoted(objects))
        yield Shadow(folder, git, search_path(outside), sha256)


def _quoted(path: Path) -> bytes:
    """One line of ``alternates``, in git's C quotes: a newline in a path must not make two."""
    kept = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._- "
    text = b"".join(bytes([byte]) if byte in kept else b"\\%03o" % byte for byte in bytes(path))
    return b'"%s"\n' % text
