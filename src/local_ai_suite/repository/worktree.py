"""Which repository a folder belongs to, its HEAD, its references and its configuration's values.

All of it is read from files here. A ``.git`` that leads to another repository is refused: an
unpacked archive could name any repository of the person's, to be shown or to get a branch.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from local_ai_suite.errors import UsageError
from local_ai_suite.messages import tr

from .files import read_bytes
from .shadow import open_shadow

_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_POINTER = 16 * 1024  # a file that holds one path, or one reference
_LARGEST_CONFIG = 1024 * 1024
_LARGEST_PACKED = 64 * 1024 * 1024  # packed-refs of a huge repository
_MOST_REFERENCES = 200_000
_LONGEST_CHAIN = 5  # symbolic references to symbolic references; git allows as many
# git-check-ref-format(1): no control character, space or one of ~^:?*[\, no "..", "@{", "//".
_REFERENCE = re.compile(r"refs/(?!.*(?:\.\.|@\{|//|/\.|\.lock(?:/|$)))[^\x00-\x20\x7f~^:?*\[\\]+")


@dataclass(frozen=True, slots=True)
class Worktree:
    """``root``: the working tree. ``git``: its git folder. ``common``: where objects and branches
    lie (the same, but for a linked working tree)."""

    root: Path
    git: Path
    common: Path

    @property
    def objects(self) -> Path:
        """The object store."""
        return self.common / "objects"


def find_worktree(start: Path) -> Worktree | None:
    """The repository around ``start``; ``None`` when there is none.

    Found as git finds it: a ``.git`` folder, or a file or a link that leads to one. Raises
    :class:`UsageError` when what it leads to doesn't name this working tree in turn.
    """
    here = start.resolve()
    for folder in (here, *here.parents):
        entry = folder / ".git"
        try:
            kind = entry.lstat().st_mode
        except OSError:
            continue
        if stat.S_ISDIR(kind) and _is_git_folder(entry):
            if os.path.lexists(entry / "commondir"):
                raise _leads_elsewhere(entry, tr("its file commondir names another git folder"))
            return Worktree(folder, entry, entry)
        if stat.S_ISREG(kind):
            return _pointed_to(folder, entry)
        if stat.S_ISLNK(kind):
            git = entry.resolve()
            if not _is_git_folder(git) or not _is_own_worktree(git, folder):
                raise _leads_elsewhere(entry, tr("it is a link to {git}", git=git))
            return Worktree(folder, git, git)
    return None


def the_worktree(start: Path) -> Worktree:
    """The same, and a :class:`UsageError` when there is none."""
    found = find_worktree(start)
    if found is None:
        raise UsageError(
            tr("{start} is not in a git repository", start=start),
            hint=tr("Call it inside of one, or `git init`."),
        )
    return found


def head(worktree: Worktree) -> tuple[str | None, str | None]:
    """The hash and the branch of HEAD; ``None`` for what isn't there or can't be read."""
    said = _pointer(worktree.git / "HEAD")
    branch = said.removeprefix("ref: refs/heads/") if said.startswith("ref: refs/heads/") else None
    if branch is not None and not _REFERENCE.fullmatch(f"refs/heads/{branch}"):
        branch = None
    return _resolve(worktree, said, None), branch


def references(worktree: Worktree) -> dict[str, str]:
    """All references by their names, with the hashes that they end at.

    Replacements (``refs/replace``) are left out. Raises :class:`UsageError` when there are too
    many, or when they are stored in a form that isn't read here.
    """
    refuse_reftable(worktree)
    packed = packed_references(worktree)
    found = dict(packed)
    for base in dict.fromkeys((worktree.common, worktree.git)):
        for folder, _, names in os.walk(base / "refs"):
            for name in names:
                path = Path(folder, name)
                reference = path.relative_to(base).as_posix()
                digest = _resolve(worktree, _pointer(path), packed)
                if digest and _REFERENCE.fullmatch(reference):
                    found[reference] = digest
            if len(found) > _MOST_REFERENCES:
                raise UsageError(
                    tr(
                        "{root} has more than {count:,} references",
                        root=worktree.root,
                        count=_MOST_REFERENCES,
                    ),
                    hint=tr("`git pack-refs --all` and `git remote prune` make fewer."),
                )
    return {name: digest for name, digest in found.items() if not name.startswith("refs/replace/")}


def refuse_reftable(worktree: Worktree) -> None:
    """Raise :class:`UsageError` for a repository whose references can't be read here."""
    if (worktree.common / "reftable").is_dir():
        raise UsageError(
            tr(
                "the references of {root} are stored as reftable, which is not read yet",
                root=worktree.root,
            ),
            hint=tr("Give the changes themselves: `git diff | lais ai 'review this'`."),
        )


def packed_references(worktree: Worktree) -> dict[str, str]:
    """Those in the file ``packed-refs``, by name."""
    raw = read_bytes(worktree.common / "packed-refs", _LARGEST_PACKED) or b""
    found = {}
    for line in os.fsdecode(raw).split("\n"):
        digest, _, name = line.partition(" ")
        if _HASH.fullmatch(digest) and _REFERENCE.fullmatch(name):
            found[name] = digest
    return found


def configuration(worktree: Worktree) -> dict[str, str]:
    """The repository's own configuration as values: ``core.filemode`` -> ``false``.

    git parses it as a file given on standard input, without its includes; nothing in it acts.
    Empty when it can't be read. A key that stands there twice has its last value.
    """
    return _configuration(worktree.common)


def uses_sha256(worktree: Worktree) -> bool:
    """Whether objects are named by SHA-256."""
    digest, _ = head(worktree)
    if digest is not None:
        return len(digest) == 64
    return configuration(worktree).get("extensions.objectformat", "").lower() == "sha256"


def remote_repository(worktree: Worktree) -> str | None:
    """``owner/name`` (or ``host/owner/name``) of the remote ``origin``, by its address."""
    address = configuration(worktree).get("remote.origin.url", "")
    pattern = r"(?:\w+://)?(?:[^@/]+@)?([A-Za-z0-9.-]+)(?::\d+)?[:/]([\w-]+)/([\w.-]+?)(?:\.git)?/?"
    found = re.fullmatch(pattern, address)
    if not found:
        return None
    host, owner, name = found.groups()
    return f"{owner}/{name}" if host == "github.com" else f"{host}/{owner}/{name}"


def shallow_commits(worktree: Worktree) -> tuple[str, ...]:
    """The commits at which a shallow clone ends."""
    raw = read_bytes(worktree.common / "shallow", _LARGEST_PACKED) or b""
    return tuple(line for line in os.fsdecode(raw).split("\n") if _HASH.fullmatch(line))


def _pointed_to(folder: Path, entry: Path) -> Worktree:
    """The repository of a ``.git`` file: a linked working tree, or a submodule."""
    said = _pointer(entry)
    if not said.startswith("gitdir:"):
        raise _leads_elsewhere(entry, tr("it doesn't say `gitdir: FOLDER`"))
    git = (folder / said.removeprefix("gitdir:").strip()).resolve()
    if not _is_git_folder(git):
        raise _leads_elsewhere(entry, tr("{git} is no git folder", git=git))
    if common := _pointer(git / "commondir"):
        shared = (git / common).resolve()
        back = (git / _pointer(git / "gitdir")).resolve()
        # git-worktree(1): COMMON/worktrees/NAME/gitdir names the .git file of the working tree.
        if git.parent == shared / "worktrees" and back == entry and _is_git_folder(shared):
            return Worktree(folder, git, shared)
    elif _is_own_worktree(git, folder):
        return Worktree(folder, git, git)
    raise _leads_elsewhere(
        entry, tr("{git} doesn't name {folder} as its working tree", git=git, folder=folder)
    )


def _is_own_worktree(git: Path, folder: Path) -> bool:
    """git-config(1), core.worktree: as submodules have it, relative to the git folder."""
    named = _configuration(git).get("core.worktree")
    return named is not None and (git / named).resolve() == folder


def _leads_elsewhere(entry: Path, why: str) -> UsageError:
    return UsageError(
        tr("{entry} leads to another place: {why}", entry=entry, why=why),
        hint=tr(
            "If both are yours: `git worktree repair`, or set core.worktree there to this folder."
        ),
    )


def _is_git_folder(folder: Path) -> bool:
    """As git judges it: HEAD, and places for references and objects."""
    return os.path.lexists(folder / "HEAD") and (
        (folder / "commondir").is_file()
        or ((folder / "refs").is_dir() and (folder / "objects").is_dir())
    )


def _configuration(git: Path) -> dict[str, str]:
    raw = read_bytes(git / "config", _LARGEST_CONFIG)
    if not raw:
        return {}
    try:
        with open_shadow(outside=git.parent) as shadow:
            done = shadow.try_git(
                "config", "--file", "-", "--no-includes", "-z", "--list", stdin=raw
            )
    except UsageError:
        return {}
    if done.code or done.cut:
        return {}
    entries = (entry.partition("\n") for entry in os.fsdecode(done.out).split("\0"))
    return {key: value for key, _, value in entries if key}


def _resolve(worktree: Worktree, said: str, packed: dict[str, str] | None) -> str | None:
    """The hash that ``said`` (a hash, or ``ref: NAME``) ends at."""
    for _ in range(_LONGEST_CHAIN):
        if not said.startswith("ref:"):
            break
        name = said.removeprefix("ref:").strip()
        if not _REFERENCE.fullmatch(name):
            return None
        said = _pointer(worktree.git / name) or _pointer(worktree.common / name)
        if not said:
            packed = packed_references(worktree) if packed is None else packed
            said = packed.get(name, "")
    return said if _HASH.fullmatch(said) else None


def _pointer(path: Path) -> str:
    """What a small file says; of a symbolic link into ``refs/`` (an old HEAD), that it is one."""
    try:
        if path.is_symlink() and (target := str(path.readlink())).startswith("refs/"):
            return f"ref: {target}"
    except (OSError, ValueError):
        return ""
    return os.fsdecode(read_bytes(path, _POINTER) or b"").strip()
