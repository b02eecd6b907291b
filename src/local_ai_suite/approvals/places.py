"""Where the queue, its key and the audit's head lie, and how private files are made.

The suite's state folder usually lies inside the project, and the project is often the workspace
that a model's tools may write. The queue and the key lie outside it (docs/guides/approvals.md), so
that state inside the project is left for a folder of the same person under ``~/.local/state``.
The audit's head lies in a second folder (``~/.config``): who replaces the first one as a whole,
from local_ai_suite.messages import tr
from a backup for instance, is found out.
"""

from __future__ import annotations

import getpass
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from local_ai_suite.errors import ApprovalError
from local_ai_suite.messages import tr
from local_ai_suite.paths import xdg_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local_ai_suite.paths import Paths

HEAD_VARIABLE = "LAIS_APPROVALS_HEAD"  # another folder for the audit's head; tests use it
PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600
_ANY_FILE = 0o666  # less the umask
_OTHERS = 0o077
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Places:
    """``folder``: queue, audit, key, policy. ``head_folder``: the audit's head, elsewhere."""

    folder: Path
    head_folder: Path

    @property
    def database(self) -> Path:
        return self.folder / "queue.db"

    @property
    def audit(self) -> Path:
        return self.folder / "audit.jsonl"

    @property
    def key(self) -> Path:
        return self.folder / "key"

    @property
    def policy(self) -> Path:
        return self.folder / "policy.toml"

    @property
    def running(self) -> Path:
        """One lock file per execution under way; the kernel frees it when its process dies."""
        return self.folder / "running"

    @property
    def checkpoint(self) -> Path:
        """How far the audit was read and found whole; made anew when it is gone."""
        return self.folder / "audit.checkpoint"

    @property
    def head(self) -> Path:
        return self.head_folder / "audit.head"

    def make(self) -> None:
        for folder in (self.folder, self.head_folder, self.running):
            folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
            check_private(folder)


def find_places(paths: Paths, environ: Mapping[str, str] | None = None) -> Places:
    """The folders for this project's approvals; made by :meth:`Places.make`."""
    env = os.environ if environ is None else environ
    name = f"{paths.project.name}-{paths.project_id}"
    home = Path(env.get("HOME") or Path.home())
    if paths.state.is_relative_to(paths.project):
        base = xdg_folder(env, "XDG_STATE_HOME", home / ".local" / "state")
        folder = base / "local-ai-suite" / name / "approvals"
    else:
        folder = paths.state / "approvals"
    if named := env.get(HEAD_VARIABLE):
        head = Path(named)
    else:
        head = xdg_folder(env, "XDG_CONFIG_HOME", home / ".config") / "local-ai-suite" / name
    return Places(folder=folder, head_folder=head)


def check_private(path: Path) -> None:
    """Raise :class:`ApprovalError` when ``path`` belongs to, or is writable by, somebody else."""
    status = path.stat()
    if os.name != "posix":
        return
    if status.st_uid != os.geteuid() or status.st_mode & _OTHERS:
        raise ApprovalError(
            tr(
                "{path} is open to other users (owner {owner}, mode {mode:o})",
                path=path,
                owner=status.st_uid,
                mode=status.st_mode & 0o777,
            ),
            hint=tr("Make it yours alone: chmod go-rwx {path}", path=path),
        )


def write_whole(descriptor: int, content: bytes) -> None:
    """All of ``content``: a disk that fills up takes a part, and says why only the next time."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def replace_in(
    folder: int, name: str, content: bytes, *, mode: int | None = None, group: int | None = None
) -> None:
    """Put ``content`` in the place of ``name`` in the open ``folder``, in one step.

    ``mode``: the file's permissions; none: what the umask gives a new file. ``group``: its group,
    where that is allowed. An ``OSError`` (a full disk) leaves the old file and nothing else; the
    caller puts the folder on the disk.
    """
    new = f".lais-{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    first_mode = _ANY_FILE if mode is None else PRIVATE_FILE
    descriptor = os.open(new, flags, first_mode, dir_fd=folder)
    try:
        try:
            write_whole(descriptor, content)
            if group is not None:
                with suppress(PermissionError):
                    os.fchown(descriptor, -1, group)
            if mode is not None:
                os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(new, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(new, dir_fd=folder)
        raise


def write_private(path: Path, content: bytes) -> None:
    """Replace ``path`` in one step, mode 600, on the disk before this returns."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        replace_in(folder, path.name, content, mode=PRIVATE_FILE)
        os.fsync(folder)
    finally:
        os.close(folder)


def sync_folder(folder: Path) -> None:
    """Put a folder's entries on the disk."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load_key(places: Places) -> bytes:
    """The approver's key; made once, and never again while there is a queue that needs it."""
    used = places.audit.exists() or places.database.exists()
    if not places.key.exists():
        if used:
            raise ApprovalError(
                tr("the key {key} is gone, so nothing in the queue can be trusted", key=places.key),
                hint=tr(
                    "Bring it back, or move {folder} away and begin anew.", folder=places.folder
                ),
            )
        _make_key(places)
    check_private(places.key)
    key = places.key.read_bytes()
    if len(key) != _KEY_BYTES:
        raise ApprovalError(
            tr(
                "the key {key} has {found} bytes instead of {expected}",
                key=places.key,
                found=len(key),
                expected=_KEY_BYTES,
            ),
            hint=tr("Bring it back, or move {folder} away and begin anew.", folder=places.folder),
        )
    return key


def _make_key(places: Places) -> None:
    """Written beside and linked into place: of two first starts, one key wins whole."""
    beside = places.key.with_name(f".key-{secrets.token_hex(8)}")
    write_private(beside, os.urandom(_KEY_BYTES))
    try:
        places.key.hardlink_to(beside)
    except FileExistsError:
        pass
    finally:
        beside.unlink()
    sync_folder(places.folder)


def user() -> str:
    """Who asks and decides, by the system's name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid{os.getuid()}"
