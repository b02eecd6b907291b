"""Read a repository's history without reading its configuration.

``git log`` in a repository runs programs that its ``.git/config`` names (pagers, signature checks,
file monitors, filters). So git is never pointed at the repository: it gets a private, empty git
folder with a configuration of ours, whose object store borrows the repository's objects. HEAD and
the branch are read from their files here. What this can't read (reftable references, a partial
clone's missing objects) stays unknown.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# A large repository on a slow disk; the log is cut to a few entries anyway.
GIT_SECONDS = 30.0
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_LARGEST_FILE = 16 * 1024 * 1024  # packed-refs of a huge repository
_MOST_OUTPUT = 64 * 1024 * 1024
_LONGEST_CHAIN = 5  # symbolic references to symbolic references; git allows as many


@dataclass(frozen=True, slots=True)
class Commit:
    """``date``: the author's day, YYYY-MM-DD."""

    hash: str
    date: str
    subject: str


@dataclass(frozen=True, slots=True)
class Place:
    """``root``: the working tree. ``git``: its git folder; ``common``: where the objects lie."""

    root: Path
    git: Path
    common: Path


def find_repository(start: Path) -> Place | None:
    """The repository around ``start``: a ``.git`` folder, or a file that points to one."""
    here = start.resolve()
    for folder in (here, *here.parents):
        entry = folder / ".git"
        git: Path | None = None
        if entry.is_dir():
            git = entry
        elif entry.is_file():
            said = _read(entry)
            if said.startswith("gitdir:"):
                git = (folder / said.removeprefix("gitdir:").strip()).resolve()
        if git is not None and (git / "HEAD").is_file():
            common = _read(git / "commondir").strip()
            return Place(folder, git, (git / common).resolve() if common else git)
    return None


def head(place: Place) -> tuple[str | None, str | None]:
    """The hash and the branch of HEAD; ``None`` for what isn't there or can't be read."""
    said = _read(place.git / "HEAD").strip()
    branch = said.removeprefix("ref: refs/heads/") if said.startswith("ref: refs/heads/") else None
    for _ in range(_LONGEST_CHAIN):
        if not said.startswith("ref:"):
            break
        said = _reference(place, said.removeprefix("ref:").strip())
    return (said if _HASH.fullmatch(said) else None), branch


def remote_repository(place: Place) -> str | None:
    """``owner/name`` (or ``host/owner/name``) of the remote ``origin``, by its address."""
    section = ""
    for line in _read(place.common / "config").splitlines():
        stripped = line.strip()
        if stripped.startswith("["):
            section = stripped
        elif section == '[remote "origin"]' and (found := re.match(r"url\s*=\s*(.+)", stripped)):
            return _owner_and_name(found[1].strip().strip('"'))
    return None


def _owner_and_name(address: str) -> str | None:
    pattern = r"(?:\w+://)?(?:[^@/]+@)?([A-Za-z0-9.-]+)(?::\d+)?[:/]([\w-]+)/([\w.-]+?)(?:\.git)?/?"
    found = re.fullmatch(pattern, address)
    if not found:
        return None
    host, owner, name = found.groups()
    return f"{owner}/{name}" if host == "github.com" else f"{host}/{owner}/{name}"


def files_at(place: Place, commit: str) -> tuple[str, ...] | None:
    """All paths of the commit's tree, sorted; ``None`` when git can't tell."""
    out = _git(place, commit, ["ls-tree", "-r", "-z", "--name-only", "--full-tree", commit])
    return None if out is None else tuple(sorted(path for path in out.split("\0") if path))


def log_at(place: Place, commit: str, count: int, paths: tuple[str, ...] = ()) -> list[Commit]:
    """The newest commits (that touch ``paths``); empty when git can't tell."""
    form = "--format=%H%x1f%ad%x1f%s"
    words = [
        "log",
        f"-{count}",
        form,
        "--date=short",
        "--no-show-signature",
        "--no-ext-diff",
        "--no-textconv",
        "--no-notes",
        "--no-mailmap",
        commit,
        "--",
        *paths,
    ]
    found = []
    for line in (_git(place, commit, words) or "").splitlines():
        fields = line.split("\x1f")
        if len(fields) == 3:
            found.append(Commit(*fields))
    return found


def _git(place: Place, commit: str, words: list[str]) -> str | None:
    git = shutil.which("git")
    objects = place.common / "objects"
    if git is None or not objects.is_dir():
        return None
    with _shadow(objects, sha256=len(commit) == 64) as folder:
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(folder),
            "LC_ALL": "C.UTF-8",
            "GIT_DIR": str(folder),
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
        literal = ["--literal-pathspecs", "--no-pager"]
        try:
            done = subprocess.run(
                [git, *literal, *words],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=GIT_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
    if done.returncode or len(done.stdout) > _MOST_OUTPUT:
        return None
    return done.stdout.decode("utf-8", "replace")


@contextmanager
def _shadow(objects: Path, *, sha256: bool) -> Iterator[Path]:
    """An empty git folder of ours that borrows ``objects``."""
    with tempfile.TemporaryDirectory(prefix="lais-git-") as name:
        folder = Path(name)
        (folder / "refs").mkdir()
        (folder / "objects" / "info").mkdir(parents=True)
        (folder / "HEAD").write_text("ref: refs/heads/none\n", encoding="ascii")
        form = "[core]\n\trepositoryformatversion = 1\n\tbare = true\n\thooksPath = /dev/null\n"
        kind = "[extensions]\n\tobjectformat = sha256\n" if sha256 else ""
        (folder / "config").write_text(form + kind, encoding="ascii")
        # A path with a newline would be read as two: such a repository has no history here.
        borrowed = "" if "\n" in str(objects) else f"{objects}\n"
        (folder / "objects" / "info" / "alternates").write_text(borrowed, encoding="utf-8")
        yield folder


def _reference(place: Place, name: str) -> str:
    if not name.startswith("refs/") or ".." in name.split("/"):
        return ""
    for base in (place.git, place.common):
        if said := _read(base / name).strip():
            return said
    for line in _read(place.common / "packed-refs").splitlines():
        if line.endswith(f" {name}"):
            return line.split(" ")[0]
    return ""


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST_FILE or not path.is_file():
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
