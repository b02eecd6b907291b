"""The audit log: one JSON line per event, chained by hashes, sealed with the approver's key.

``hash`` is SHA-256 over the canonical line without ``hash`` and ``mac``; it covers ``prev``, the
hash before it. ``mac`` is HMAC-SHA-256 of ``hash``. The head (number and hash of the last line)
lies in another folder, so that a tail cut off here is missed there. A line is on the disk before
``append`` returns. The head may be one crash behind the file, never ahead of it.

A line torn by a crash stays as it is; the next event says so and carries its hash. One that a full
disk did not take whole is taken back.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from local_ai_suite.errors import ApprovalError
from local_ai_suite.messages import tr

from .canonical import canonical, parse
from .places import (
    PRIVATE_FILE,
    Places,
    check_private,
    sync_folder,
    write_private,
    write_whole,
)
from .redact import redact_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .clock import Moment

_FIRST = "0" * 64  # what the first line names as the hash before it
_TAIL = 1 << 20  # a line holds no arguments, only their digest and a short summary
TORN = "torn_line"
_HINT = tr(
    "Nothing is run. See `lais approvals audit verify`, and docs/guides/approvals.md, 'Broken'."
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What ``verify`` found: ``problems`` is empty when the log is whole."""

    entries: tuple[dict[str, Any], ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problems

    def events_of(self, request_id: str) -> list[dict[str, Any]]:
        return [entry for entry in self.entries if entry.get("id") == request_id]


@dataclass(slots=True)
class _Reading:
    entries: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Audit:
    """Append to and verify the log at ``places.audit``."""

    def __init__(self, places: Places, key: bytes) -> None:
        self._places = places
        self._key = key

    def append(self, event: str, request_id: str, now: Moment, **facts: Any) -> None:
        """Write one event and put it on the disk. ``facts`` are JSON-able; secrets are taken out.

        Raises :class:`ApprovalError` when the log's end isn't what the head says it was.
        """
        with self._locked() as descriptor:
            seq, prev, newest = self._mend_torn_line(descriptor, now)
            self._write(descriptor, seq + 1, prev, newest, event, request_id, now, facts)

    def newest_wall(self) -> float:
        """The newest wall time on record, in seconds since 1970; 0.0 when there is none."""
        if not self._places.audit.exists():
            return 0.0
        with self._locked() as descriptor:
            _, _, newest = self._last(self._tail(descriptor)[0])
            return newest

    def verify(self) -> Verdict:
        """Read everything; find an edit, a removal, an insertion and a cut tail."""
        reading = _Reading()
        head = self._head(reading.problems)
        if not self._places.audit.exists():
            if head:
                reading.problems.append(f"the log is gone; it had {head['seq']} events")
            return _verdict(reading)
        with self._locked() as descriptor:
            size = os.fstat(descriptor).st_size
            raw = os.pread(descriptor, size, 0)
        self._read_lines(raw, reading)
        last = reading.entries[-1] if reading.entries else None
        if head and (last is None or last["seq"] < head["seq"]):
            have = last["seq"] if last else 0
            reading.problems.append(f"the end was cut off: {have} events of {head['seq']} are here")
        elif head and not any(
            entry["seq"] == head["seq"] and entry["hash"] == head["hash"]
            for entry in reading.entries
        ):
            reading.problems.append(f"event {head['seq']} isn't the one that the head names")
        elif last and not head:
            reading.problems.append(f"the head {self._places.head} is gone")
        return _verdict(reading)

    def _read_lines(self, raw: bytes, reading: _Reading) -> None:
        prev, seq, torn = _FIRST, 0, b""
        lines = raw.split(b"\n")
        rest = lines.pop()
        for number, line in enumerate(lines, 1):
            entry = self._checked(line)
            if torn:
                if entry and entry["event"] == TORN and entry.get("sha256") == _sha256(torn):
                    reading.notes.append(f"line {number - 1} was torn by a crash; this is recorded")
                else:
                    reading.problems.append(f"line {number - 1} was edited or damaged")
                torn = b""
            if entry is None:
                torn = line or b"\n"
                continue
            if entry["seq"] != seq + 1 or entry["prev"] != prev:
                reading.problems.append(
                    f"line {number} (event {entry['seq']}) doesn't follow event {seq}: "
                    "something was removed, added or moved"
                )
            prev, seq = entry["hash"], entry["seq"]
            reading.entries.append(entry)
        if torn:
            reading.problems.append(f"line {len(lines)} was edited or damaged")
        if rest:
            reading.notes.append("the last line was torn by a crash; the next event will record it")

    def _checked(self, line: bytes) -> dict[str, Any] | None:
        """The line's entry when its hash and its seal are right, else ``None``."""
        try:
            entry = parse(line)
            body = {name: entry[name] for name in entry if name not in {"hash", "mac"}}
            right = hmac.compare_digest(_sha256(canonical(body)), entry["hash"])
            sealed = hmac.compare_digest(self._mac(entry["hash"]), entry["mac"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        complete = {"seq", "prev", "event", "newest"} <= entry.keys()
        return entry if right and sealed and complete else None

    def _write(
        self,
        descriptor: int,
        seq: int,
        prev: str,
        newest: float,
        event: str,
        request_id: str,
        now: Moment,
        facts: dict[str, Any],
        before: bytes = b"",
    ) -> tuple[int, str, float]:
        newest = max(newest, round(now.wall, 3))
        body: dict[str, Any] = {
            **redact_value(facts),
            "seq": seq,
            "prev": prev,
            "event": event,
            "id": request_id,
            "at": datetime.fromtimestamp(now.wall, UTC).isoformat(timespec="milliseconds"),
            "newest": newest,
        }
        digest = _sha256(canonical(body))
        line = canonical({**body, "hash": digest, "mac": self._mac(digest)}) + b"\n"
        size = os.fstat(descriptor).st_size
        try:
            write_whole(descriptor, before + line)
        except OSError:
            with suppress(OSError):
                os.ftruncate(descriptor, size)
            raise
        os.fsync(descriptor)
        head = {"seq": seq, "hash": digest}
        head["mac"] = self._mac(_sha256(canonical(head)))
        write_private(self._places.head, canonical(head))
        return seq, digest, newest

    def _mend_torn_line(self, descriptor: int, now: Moment) -> tuple[int, str, float]:
        """The log's last number, hash and newest time; a torn last line is closed and recorded."""
        problems: list[str] = []
        head = self._head(problems)
        lines, torn = self._tail(descriptor)
        seq, prev, newest = self._last(lines)
        if head and head["seq"] > seq:
            problems.append(
                tr(
                    "the log's end was cut off: {seq} events of {events} are here",
                    seq=seq,
                    events=head["seq"],
                )
            )
        if head and head["seq"] == seq and head["hash"] != prev:
            problems.append(tr("the log's last event isn't the one that the head names"))
        if seq and not head:
            problems.append(tr("the audit's head {head} is gone", head=self._places.head))
        if problems:
            raise ApprovalError(problems[0], hint=_HINT)
        if not torn:
            return seq, prev, newest
        facts = {"sha256": _sha256(torn)}
        return self._write(descriptor, seq + 1, prev, newest, TORN, "", now, facts, b"\n")

    def _last(self, lines: list[bytes]) -> tuple[int, str, float]:
        if not lines:
            return 0, _FIRST, 0.0
        entry = self._checked(lines[-1])
        if entry is None:
            raise ApprovalError(tr("the audit log's last line was edited or damaged"), hint=_HINT)
        return int(entry["seq"]), str(entry["hash"]), float(entry["newest"])

    def _tail(self, descriptor: int) -> tuple[list[bytes], bytes]:
        """The last whole lines, and what stands after the last newline."""
        size = os.fstat(descriptor).st_size
        start = max(0, size - _TAIL)
        lines = os.pread(descriptor, size - start, start).split(b"\n")
        torn = lines.pop()
        return lines[1:] if start else lines, torn

    def _head(self, problems: list[str]) -> dict[str, Any] | None:
        try:
            head = parse(self._places.head.read_bytes())
            body = {"seq": head["seq"], "hash": head["hash"]}
            if hmac.compare_digest(self._mac(_sha256(canonical(body))), head["mac"]):
                return dict(head)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            pass
        problems.append(tr("the audit's head {head} was edited or damaged", head=self._places.head))
        return None

    def _mac(self, digest: str) -> str:
        return hmac.new(self._key, b"audit:" + digest.encode(), hashlib.sha256).hexdigest()

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The log, opened for appending and locked against other processes."""
        new = not self._places.audit.exists()
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        descriptor = os.open(self._places.audit, flags, PRIVATE_FILE)
        try:
            check_private(self._places.audit)
            if new:
                sync_folder(self._places.folder)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)


def _verdict(reading: _Reading) -> Verdict:
    return Verdict(tuple(reading.entries), tuple(reading.problems), tuple(reading.notes))


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
