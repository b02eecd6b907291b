"""Files that an action reads, replaces or executes: what they were when a person saw them."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from local_ai_suite.errors import ApprovalError
from local_ai_suite.messages import tr
from local_ai_suite.repository.program import find_program

ABSENT = "absent"
Role = Literal["reads", "replaces", "executes"]
_LARGEST = 256 * 1024 * 1024  # gh is 50 MB; a file past this is no part of a small action
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class BoundFile:
    """``sha256``: of the content, or ``absent``. ``path``: absolute, symbolic links resolved."""

    path: str
    role: Role
    sha256: str

    def as_dict(self) -> dict[str, Any]:
        return {"path": self.path, "role": self.role, "sha256": self.sha256}


def bind(path: Path, role: Role) -> BoundFile:
    """Remember what ``path`` is now."""
    real = path.resolve()
    return BoundFile(str(real), role, content_hash(real))


def bind_program(name: str, cwd: Path) -> BoundFile:
    """The program that ``name`` means on PATH now; none that lies in ``cwd``, the project."""
    found = find_program(name, cwd)
    if found is None:
        raise ApprovalError(
            tr("{name} is not installed (not on PATH), and this action runs it", name=name),
            hint=tr("Install {name}, then ask again.", name=name),
        )
    return bind(found, "executes")


def content_hash(path: Path) -> str:
    """SHA-256 of a regular file's content; ``absent`` when there is nothing.

    Raises :class:`ApprovalError` for a folder, a device, a link, or a file that can't be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return ABSENT
    except OSError as exc:
        raise ApprovalError(
            tr("{path} cannot be read: {strerror}", path=path, strerror=exc.strerror), hint=_REGULAR
        ) from exc
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
        os.close(descriptor)
        raise ApprovalError(
            tr("{path} is not a regular file of usual size", path=path), hint=_REGULAR
        )
    with os.fdopen(descriptor, "rb") as file:
        found = hashlib.sha256()
        while chunk := file.read(_CHUNK):
            found.update(chunk)
        return found.hexdigest()


_REGULAR = tr("An action is bound to regular files only, so that what a person saw is what runs.")


def changed(files: list[dict[str, Any]]) -> str | None:
    """The first bound file that isn't what it was, or ``None``."""
    for entry in files:
        path = Path(entry["path"])
        try:
            same = path.resolve() == path and content_hash(path) == entry["sha256"]
        except (ApprovalError, OSError, RuntimeError):
            same = False
        if not same:
            return str(path)
    return None
