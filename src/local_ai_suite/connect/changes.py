"""Change a file of somebody else's program: diff first, backup, all or nothing, and back again.

What was written is kept in a ledger (``.state/connect/CLIENT.json``), so that ``disconnect`` gives
the file back byte by byte when nobody touched it since, and otherwise takes out only what is ours.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_ai_suite.errors import UsageError
from local_ai_suite.messages import tr

from . import formats
from .path import Edit, as_json, from_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .formats import Format

# A configuration of more is none; it keeps a wrong path from filling the memory.
LARGEST_FILE = 8 * 1024 * 1024
_NEW_FILE_MODE = 0o600  # it may hold a key some day


@dataclass(frozen=True, slots=True)
class Change:
    """One file, before and after. ``before`` is ``None`` for a file that is not there yet."""

    path: Path
    format: Format
    before: str | None
    after: str
    made: tuple[Edit, ...] = ()

    @property
    def nothing(self) -> bool:
        """The file is already as it should be."""
        return self.before == self.after

    def diff(self) -> str:
        """A unified diff for a person."""
        lines = difflib.unified_diff(
            (self.before or "").splitlines(),
            self.after.splitlines(),
            str(self.path) if self.before is not None else "(new file)",
            str(self.path),
            lineterm="",
        )
        return "\n".join(lines)


def plan(path: Path, format_: Format, edits: Sequence[Edit]) -> Change:
    """What ``edits`` would make of the file. Nothing is written.

    Raises :class:`UsageError` for a file that cannot be read, is not valid, or would be harmed.
    """
    before = _read(path)
    try:
        after, made = formats.apply(format_, before or "", edits)
    except ValueError as exc:
        raise UsageError(
            tr("{path} cannot be changed safely: {exc}", path=path, exc=exc),
            hint=tr("Nothing was written. Mend the file, or use --print and edit it by hand."),
            file=str(path),
        ) from exc
    return Change(path, format_, before, after, tuple(made))


def write(changes: Sequence[Change], ledger: Path) -> list[Path]:
    """Write all changes; the backups' paths. A failure puts back what was already written."""
    changes = [change for change in changes if not change.nothing]
    backups: list[Path] = []
    records: list[dict[str, Any]] = []
    done: list[Change] = []
    earlier = {record["path"]: record for record in _records(ledger)}
    try:
        for change in changes:
            backup = _back_up(change, ledger)
            if backup:
                backups.append(backup)
            _unchanged(change)
            _replace(change.path, change.after)
            done.append(change)
            records.append(_record(change, backup, earlier.get(str(change.path))))
        kept = [r for path, r in earlier.items() if path not in {r["path"] for r in records}]
        _replace(ledger, json.dumps([*kept, *records], ensure_ascii=False, indent=1))
    except BaseException:
        for change in reversed(done):
            if change.before is None:
                change.path.unlink(missing_ok=True)
            else:
                _replace(change.path, change.before)
        raise
    return backups


def _record(change: Change, backup: Path | None, first: dict[str, Any] | None) -> dict[str, Any]:
    """What the ledger keeps of a change. ``first``: of the earlier time that connect ran.

    The first backup is the one to go back to, however often connect ran since; but not when
    somebody else has written to the file in between (``touched``): then what is theirs stays.
    """
    edits = [{"path": as_json(e.path), "value": e.value} for e in change.made]
    record = {
        "path": str(change.path),
        "format": change.format,
        "backup": backup and str(backup),
        "existed": change.before is not None,
        "touched": False,
        "after": _digest(change.after),
        "edits": edits,
    }
    if first is None or change.before is None:
        return record
    paths = [edit["path"] for edit in edits]
    return {
        **record,
        "backup": first["backup"],
        "existed": first["existed"],
        "touched": first.get("touched", False) or _digest(change.before) != first["after"],
        # A value that was absent the first time is there now: it was ours.
        "edits": [*(edit for edit in first["edits"] if edit["path"] not in paths), *edits],
    }


@dataclass(frozen=True, slots=True)
class Restored:
    """``how``: "as it was", "removed", "ours taken out", "already gone"."""

    path: Path
    how: str


def restore(ledger: Path) -> list[Restored]:
    """Undo what the ledger tells. Raises :class:`UsageError` when there is nothing to undo."""
    records = _records(ledger)
    if not records:
        raise UsageError(tr("it is not connected"), hint=tr("`lais connect` lists what is."))
    done = [Restored(Path(record["path"]), _restore_one(record)) for record in records]
    ledger.unlink()
    return done


def connected(ledger: Path) -> list[Path]:
    """The files that were written for a client."""
    return [Path(record["path"]) for record in _records(ledger)]


def _restore_one(record: dict[str, Any]) -> str:
    path = Path(record["path"])
    now = _read(path)
    if now is None:
        return tr("already gone")
    if _digest(now) == record["after"] and not record.get("touched"):
        if not record["existed"]:
            path.unlink()
            return "removed"
        before = Path(record["backup"]).read_bytes().decode()
        _replace(path, before)
        return tr("as it was")
    edits = [Edit(from_json(edit["path"]), edit["value"]) for edit in record["edits"]]
    try:
        after = formats.remove(record["format"], now, edits)
    except ValueError as exc:
        raise UsageError(
            tr("{path} was changed since and cannot be read: {exc}", path=path, exc=exc),
            hint=tr(
                "The file as it was before: {backup}",
                backup=record["backup"] or tr("there was none"),
            ),
        ) from exc
    _replace(path, after)
    return tr("ours taken out")


def _records(ledger: Path) -> list[dict[str, Any]]:
    try:
        records = json.loads(ledger.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as exc:
        raise UsageError(
            tr("{ledger} cannot be read: {exc}", ledger=ledger, exc=exc),
            hint=tr("The backups are in {parent}.", parent=ledger.parent),
        ) from exc
    return list(records)


def _read(path: Path) -> str | None:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise UsageError(
                tr(
                    "{path} is larger than {size} MiB: no configuration is",
                    path=path,
                    size=LARGEST_FILE >> 20,
                ),
                hint=tr("Look at the file; nothing was written."),
            )
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        if path.is_symlink():
            raise UsageError(
                tr(
                    "{path} is a link to {target}, which is not there",
                    path=path,
                    target=path.readlink(),
                ),
                hint=tr("Make its target, or remove the link."),
            ) from None
        return None
    except UnicodeDecodeError as exc:
        raise UsageError(
            tr("{path} is not UTF-8 text", path=path), hint=tr("Save it as UTF-8.")
        ) from exc
    except OSError as exc:
        raise UsageError(
            tr("{path} cannot be read: {strerror}", path=path, strerror=exc.strerror or exc)
        ) from exc


def _unchanged(change: Change) -> None:
    if _read(change.path) != change.before:
        raise UsageError(
            tr("{path} was changed by another program just now", path=change.path),
            hint=tr("Nothing was written to it. Run the command again."),
        )


def _back_up(change: Change, ledger: Path) -> Path | None:
    if change.before is None:
        return None
    folder = ledger.parent / "backups"
    name = f"{ledger.stem}-{_digest(change.before)[:12]}-{change.path.name}"
    backup = folder / name
    if not backup.exists():
        _replace(backup, change.before)
    return backup


def _replace(path: Path, text: str) -> None:
    """Write a whole file at once, through a link to its target, with the mode that it had."""
    target = path.resolve()
    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        mode = target.stat().st_mode & 0o7777 if target.exists() else _NEW_FILE_MODE
        if target.exists() and not os.access(target, os.W_OK):
            raise PermissionError(13, tr("it is read-only"))
        descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)  # noqa: PTH101
        os.replace(temporary, target)  # noqa: PTH105
    except OSError as exc:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108
        raise UsageError(
            tr("{path} cannot be written: {strerror}", path=path, strerror=exc.strerror or exc),
            hint=tr("Make it writable for you; what was there is unchanged."),
        ) from exc


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
