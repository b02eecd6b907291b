"""What changed in a repository: in the index, in the working files, on a branch.

The index is copied into the shadow and read there. Working files are read by :mod:`.files`, become
blobs of the shadow's, and stand in its copy of the index; then one git compares two lists of blobs
and opens no file of the repository. So no attribute, filter or text converter is in play. What
they would have done is told: line ends are compared as the index has them, a file behind Git LFS
by its pointer, and what is too large or no file by a line that says so.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local_ai_suite.errors import UsageError
from local_ai_suite.messages import tr

from .files import WorkingFiles, is_plain_path, read_bytes
from .history import borrow, resolve
from .worktree import configuration, head, refuse_reftable

if TYPE_CHECKING:
    from pathlib import Path

    from .shadow import Shadow
    from .worktree import Worktree

# More than any local model's context holds (a token is about 4 bytes, a context 1M tokens at most).
MOST_DIFFERENCE = 8 * 1024 * 1024
_LARGEST_FILE = 8 * 1024 * 1024
_LARGEST_INDEX = 512 * 1024 * 1024  # about 100 bytes a file
# Files whose dates say that they may have changed are read to find out; a touched tree is that.
_MOST_READ = 2 * 1024 * 1024 * 1024
_MOST_CHANGED = 256 * 1024 * 1024
_LARGEST_POINTER = 1024  # Git LFS: "must be less than 1024 bytes"
_LFS = re.compile(
    rb"version https://git-lfs\S*\n.*?oid sha256:([0-9a-f]{64})\nsize (\d+)\n", re.DOTALL
)
_DIFF = ("diff-index", "--cached", "--patch", "--find-renames", "--ignore-submodules=all")
_LINK, _SUBMODULE = "120000", "160000"
_FILE_MODES = {False: "100644", True: "100755"}
# git-ls-files(1), --stage --debug -z: mode, hash, stage, name, then what lstat said back then.
_ENTRY = re.compile(
    rb"(\d{6}) ([0-9a-f]+) ([0-3])\t([^\0]+)\0"
    rb"(?:  ctime: (\d+):(\d+)\n  mtime: (\d+):(\d+)\n  dev: \d+\tino: (\d+)\n"
    rb"  uid: \d+\tgid: \d+\n  size: (\d+)\tflags: ([0-9a-f]+)\n)?"
)
_ASSUMED, _SKIPPED = 0x8000, 0x4000_0000  # git's CE_VALID and CE_SKIP_WORKTREE


@dataclass(frozen=True, slots=True)
class FileDifference:
    """One file's part of a difference: ``name``, git's unified ``text``, and a ``note`` on how it
    was read, where there is something to say."""

    name: str
    text: str
    note: str = ""


def staged(worktree: Worktree) -> tuple[FileDifference, ...]:
    """What the next commit would change. Raises :class:`UsageError` in git's own words."""
    with borrow(worktree) as shadow:
        _copy_index(worktree, shadow)
        return _compare(shadow, _tree(worktree, shadow), {})


def changes(worktree: Worktree, since: str | None = None) -> tuple[FileDifference, ...]:
    """How tracked files differ from ``since`` (a revision; default HEAD), staged or not."""
    with borrow(worktree) as shadow:
        tree = _tree(worktree, shadow) if since is None else resolve(worktree, shadow, since)
        written = _copy_index(worktree, shadow)
        notes = _take_working_files(worktree, shadow, written)
        return _compare(shadow, tree, notes)


def branch_changes(worktree: Worktree, base: str) -> tuple[FileDifference, ...]:
    """What the commits of this branch changed since it left ``base``."""
    with borrow(worktree) as shadow:
        there, here = resolve(worktree, shadow, base), resolve(worktree, shadow, "HEAD")
        words = ("diff-tree", "-r", "--patch", "--find-renames", "--ignore-submodules=all")
        found = shadow.try_git("merge-base", there, here)
        if found.code:
            raise UsageError(
                tr("{base} and this branch have no commit in common here", base=base),
                hint=tr("In a shallow clone `git fetch --unshallow` brings the rest."),
            )
        fork = found.out.decode().strip()
        return _parts(shadow.git(*words, fork, here, "--", most=MOST_DIFFERENCE), {})


def is_tracked(worktree: Worktree, path: str) -> bool:
    """Whether the index holds ``path`` (from the root, forward slashes), or something below it."""
    with borrow(worktree) as shadow:
        _copy_index(worktree, shadow)
        return bool(shadow.git("ls-files", "-z", "--", path))


def _tree(worktree: Worktree, shadow: Shadow) -> str:
    """HEAD's commit; before the first commit the empty tree."""
    commit, branch = head(worktree)
    if commit is not None:
        return commit
    refuse_reftable(worktree)
    if branch is None:
        raise UsageError(
            tr("{path} cannot be read", path=worktree.git / "HEAD"),
            hint=tr("Is it damaged? `git status` says more."),
        )
    return shadow.add_object("tree", b"")


def _copy_index(worktree: Worktree, shadow: Shadow) -> tuple[int, int]:
    """The index, and the shared part of a split one; when it was written (seconds, nanoseconds)."""
    path = worktree.git / "index"
    raw = read_bytes(path, _LARGEST_INDEX)
    if raw is None:
        if os.path.lexists(path):
            raise UsageError(
                tr("{path} cannot be read", path=path),
                hint=tr("Is it a file of sensible size?"),
            )
        return 0, 0
    (shadow.folder / "index").write_bytes(raw)
    for shared in _shared_indexes(worktree.git):
        name = shared.name.removeprefix("sharedindex.")
        # gitformat-index(5): the extension "link" holds the shared index's hash as bytes.
        if bytes.fromhex(name) in raw and (content := read_bytes(shared, _LARGEST_INDEX)):
            (shadow.folder / shared.name).write_bytes(content)
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return divmod(status.st_mtime_ns, 10**9)


def _shared_indexes(git: Path) -> list[Path]:
    pattern = re.compile(r"sharedindex\.(?:[0-9a-f]{40}|[0-9a-f]{64})")
    return [path for path in sorted(git.glob("sharedindex.*")) if pattern.fullmatch(path.name)]


@dataclass(frozen=True, slots=True)
class _Entry:
    """An index entry; ``stat``: ctime, mtime (each s, ns), inode, size, as git saw them last."""

    mode: str
    hash: str
    stage: int
    path: bytes
    stat: tuple[int, ...] | None
    flags: int

    def looks_unchanged(self, status: os.stat_result, written: tuple[int, int]) -> bool:
        """By dates and size, as git judges it; not for what is as young as the index ("racy")."""
        if self.stat is None or self.stage or self.stat[2:4] >= written:
            return False
        now = (
            *divmod(status.st_ctime_ns, 10**9),
            *divmod(status.st_mtime_ns, 10**9),
            status.st_ino & 0xFFFF_FFFF,
            status.st_size & 0xFFFF_FFFF,
        )
        executable = bool(status.st_mode & stat.S_IXUSR)
        same_mode = self.mode == _LINK or self.mode == _FILE_MODES[executable]
        return self.stat == now and same_mode


def _entries(shadow: Shadow) -> list[_Entry]:
    out = shadow.git("ls-files", "--stage", "--debug", "-z", most=_LARGEST_INDEX)
    found = []
    for mode, digest, stage, path, *numbers, flags in _ENTRY.findall(out):
        status = tuple(int(number) for number in numbers) if flags else None
        known = int(flags, 16) if flags else 0
        found.append(_Entry(mode.decode(), digest.decode(), int(stage), path, status, known))
    return found


class _Reader:
    """Turns working files into entries of the shadow's index."""

    def __init__(self, worktree: Worktree, shadow: Shadow, files: WorkingFiles) -> None:
        values = configuration(worktree)
        # On a Windows drive every file is executable, and links are files that name their goal.
        self._modes_count = values.get("core.filemode", "true").lower() != "false"
        self._links_count = values.get("core.symlinks", "true").lower() != "false"
        self._shadow = shadow
        self._files = files
        self._read = 0
        self._kept = 0
        self.new: dict[bytes, tuple[str, bytes] | None] = {}
        self.notes: dict[str, str] = {}

    def look(self, entry: _Entry, written: tuple[int, int]) -> None:
        """Note what ``entry``'s file holds now, when that isn't what the index says."""
        if entry.mode == _SUBMODULE or entry.flags & (_ASSUMED | _SKIPPED):
            return
        if not is_plain_path(entry.path):
            self._tell(entry, tr("not read: its name leads out of the folder or into .git"))
            return
        status = self._files.status(entry.path)
        if status is None or stat.S_ISDIR(status.st_mode):
            self.new[entry.path] = None
        elif stat.S_ISLNK(status.st_mode):
            self._take(entry, _LINK, self._files.link(entry.path))
        elif not stat.S_ISREG(status.st_mode):
            self._tell(entry, tr("not read: it is a pipe, a socket or a device now"))
        elif not entry.looks_unchanged(status, written):
            self._look_into(entry, status)

    def _look_into(self, entry: _Entry, status: os.stat_result) -> None:
        mode = _FILE_MODES[bool(status.st_mode & stat.S_IXUSR)]
        if not self._modes_count and entry.mode in _FILE_MODES.values():
            mode = entry.mode
        if not self._links_count and entry.mode == _LINK:
            mode = _LINK
        self._read += min(status.st_size, _LARGEST_FILE)
        if self._read > _MOST_READ:
            raise UsageError(
                tr("more than {size} GiB of files would have to be read", size=_MOST_READ >> 30),
                hint=tr("`git status` once notes their dates; then only changed ones are read."),
            )
        if status.st_size > _LARGEST_FILE:
            size = status.st_size
            self._tell(
                entry, tr("not read: {size:,} bytes, compared by size and date only", size=size)
            )
            return
        self._take(entry, mode, self._files.read(entry.path, _LARGEST_FILE))

    def _take(self, entry: _Entry, mode: str, content: bytes | None) -> None:
        if content is None:
            self._tell(entry, tr("not read: it could not be opened"))
            return
        digest = self._shadow.hash_of(b"blob %d\0" % len(content) + content)
        if entry.stage or (mode, digest) != (entry.mode, entry.hash):
            self.new[entry.path] = (mode, content)
            self._kept += len(content)
            if self._kept > _MOST_CHANGED:
                raise UsageError(
                    tr("more than {size} MiB of files have changed", size=_MOST_CHANGED >> 20),
                    hint=tr("Look at a part of it: `git diff PATH | lais ai 'review this'`."),
                )

    def _tell(self, entry: _Entry, note: str) -> None:
        self.notes[_text(entry.path)] = note

    def settle(self, old: dict[bytes, _Entry]) -> None:
        """Undo what filters would undo: line ends, and contents that Git LFS keeps elsewhere."""
        blobs = self._old_blobs(old)
        for path, now in list(self.new.items()):
            entry = old.get(path)
            before = blobs.get(entry.hash) if entry else None
            if now is None or entry is None or before is None or now[0] == _LINK:
                continue
            mode, content = now
            if pointer := _LFS.match(before):
                if _LFS.match(content):
                    continue
                found = hashlib.sha256(content).hexdigest().encode()
                if found == pointer[1]:
                    content = before
                else:
                    size = b"\nsize %d\n" % len(content)
                    content = before.replace(pointer[1], found)
                    content = content.replace(b"\nsize %s\n" % pointer[2], size)
                    self._tell(entry, tr("kept by Git LFS: only its pointer is compared"))
            elif b"\r\n" in content and b"\r\n" not in before:
                content = content.replace(b"\r\n", b"\n")
                if content != before:
                    self._tell(entry, tr("its line ends (CRLF) are compared as LF"))
            if content == before and mode == entry.mode:
                del self.new[path]
            else:
                self.new[path] = (mode, content)

    def _old_blobs(self, old: dict[bytes, _Entry]) -> dict[str, bytes]:
        """What the index holds of changed files that could be pointers or have other line ends."""
        wanted = {
            old[path].hash: b"\r\n" in now[1]
            for path, now in self.new.items()
            if now is not None and path in old
        }
        asked = "".join(f"{digest}\n" for digest in wanted).encode()
        sizes = {}
        for line in self._shadow.git("cat-file", "--batch-check", stdin=asked).splitlines():
            digest, kind, *size = line.decode().split(" ")
            if kind == "blob":
                sizes[digest] = int(size[0])
        few = [
            digest
            for digest, ends in wanted.items()
            if sizes.get(digest, _LARGEST_FILE + 1) <= (_LARGEST_FILE if ends else _LARGEST_POINTER)
        ]
        out = self._shadow.git(
            "cat-file",
            "--batch",
            stdin="".join(f"{digest}\n" for digest in few).encode(),
            most=_MOST_CHANGED,
        )
        found, place = {}, 0
        while place < len(out):
            start = out.index(b"\n", place) + 1
            name, _, length = out[place:start].decode().split()
            place = start + int(length) + 1
            found[name] = out[start : place - 1]
        return found


def _take_working_files(
    worktree: Worktree, shadow: Shadow, written: tuple[int, int]
) -> dict[str, str]:
    """Put the working files into the shadow's index; what there is to say of them, by name."""
    entries = _entries(shadow)
    with WorkingFiles(worktree.root) as files:
        reader = _Reader(worktree, shadow, files)
        for entry in entries:
            if entry.path not in reader.new:
                reader.look(entry, written)
        reader.settle({entry.path: entry for entry in entries if not entry.stage})
    none = "0" * (64 if shadow.sha256 else 40)
    lines = []
    for path, now in reader.new.items():
        lines.append(b"0 %s\t%s\0" % (none.encode(), path))  # also ends a conflict's stages
        if now is not None:
            mode, content = now
            digest = shadow.add_object("blob", content)
            lines.append(b"%s %s 0\t%s\0" % (mode.encode(), digest.encode(), path))
    shadow.git("update-index", "-z", "--index-info", stdin=b"".join(lines))
    return reader.notes


def _compare(shadow: Shadow, tree: str, notes: dict[str, str]) -> tuple[FileDifference, ...]:
    return _parts(shadow.git(*_DIFF, tree, "--", most=MOST_DIFFERENCE), notes)


def _parts(raw: bytes, notes: dict[str, str]) -> tuple[FileDifference, ...]:
    """One per file; a file that is only told of has its note for a text."""
    found: dict[str, FileDifference] = {}
    for part in re.split(rb"^(?=diff --git |\* Unmerged path )", raw, flags=re.MULTILINE):
        text = part.decode("utf-8", "replace").strip("\n") + "\n"
        if part.strip():
            name = _name(text)
            found[name] = FileDifference(name, text, notes.get(name, ""))
    for name, note in notes.items():
        if name not in found and note.startswith("not read"):
            found[name] = FileDifference(name, f"{name}: {note}\n", note)
    return tuple(found[name] for name in sorted(found))


def _name(part: str) -> str:
    """The file's name in one file's diff (``+++ b/NAME``; a deleted or renamed one has others)."""
    lines = part.splitlines()[:12]
    for line in lines:
        for start in ("* Unmerged path ", "+++ b/", '+++ "b/', "rename to ", "--- a/", '--- "a/'):
            if line.startswith(start):
                return line.removeprefix(start).rstrip("\t").strip('"')
    # A new empty or binary file has no such line: "diff --git a/NAME b/NAME".
    words = lines[0].removeprefix("diff --git ")
    return words[len(words) // 2 + 1 :].strip('"').removeprefix("b/")


def _text(path: bytes) -> str:
    return path.decode("utf-8", "replace")
