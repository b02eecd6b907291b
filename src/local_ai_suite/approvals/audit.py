"""The audit log: one JSON line per event, chained by hashes, sealed with the approver's key.

``hash`` is SHA-256 over the canonical line without ``hash`` and ``mac``; it covers ``prev``, the
hash before it. ``mac`` is HMAC-SHA-256 of ``hash``. The head (number and hash of the last line)
lies in another folder, so that a tail cut off here is missed there. A line is on the disk before
``append`` returns. The head may be one crash behind the file, never ahead of it.

What was read and found whole is remembered by a sealed checkpoint, so that an execution reads only
what came after it, or after its own approval; ``verify`` reads everything.

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
_BEGINNING = (0, _FIRST)
_BLOCK = 1 << 14  # read at once from the end; a line holds a digest and a summary, some 500 bytes
# A new checkpoint is a write and two waits for the disk: worth it when so many events were read.
_CHECKPOINT_EVERY = 64
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
    """``places``: where each entry's line begins and ends in the file."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    places: list[tuple[int, int]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    """Up to the line from ``start`` to ``end``, event ``seq``, the log was read and found whole."""

    seq: int
    hash: str
    start: int
    end: int


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
            _, _, newest = self._last(self._end(descriptor)[0])
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
            self._read(descriptor, 0, _BEGINNING, head, reading)
        return _verdict(reading)

    def since_approval(self, request_id: str) -> Verdict:
        """Check the log's end: all since the checkpoint, and all since this request's approval.

        The verdict's entries are those that were read, the approval among them if the log knows
        one. Damage further back is left for :meth:`verify` to find.
        """
        if not self._places.audit.exists():
            return self.verify()
        reading = _Reading()
        head = self._head(reading.problems)
        with self._locked() as descriptor:
            checkpoint = self._checkpoint(descriptor)
            start, before = 0, _BEGINNING
            if checkpoint is not None:
                start, before = checkpoint.end, (checkpoint.seq, checkpoint.hash)
                approved = self._find_approval(descriptor, request_id)
                if approved is not None and approved[0] < start:
                    start, before = approved
            self._read(descriptor, start, before, head, reading)
        known = {before, *((entry["seq"], entry["hash"]) for entry in reading.entries)}
        if checkpoint is not None and (checkpoint.seq, checkpoint.hash) not in known:
            reading.problems.append(f"event {checkpoint.seq} isn't the one that was read before")
        if not reading.problems and head:
            self._advance(checkpoint, reading, head["seq"])
        return _verdict(reading)

    def _read(
        self,
        descriptor: int,
        start: int,
        before: tuple[int, str],
        head: dict[str, Any] | None,
        reading: _Reading,
    ) -> None:
        """Check all from ``start``, which follows the event ``before``, to the end and the head."""
        size = os.fstat(descriptor).st_size
        self._read_lines(os.pread(descriptor, size - start, start), start, before, reading)
        known = [before, *((entry["seq"], entry["hash"]) for entry in reading.entries)]
        last = known[-1][0]
        if head and last < head["seq"]:
            reading.problems.append(f"the end was cut off: {last} events of {head['seq']} are here")
        elif head and (head["seq"], head["hash"]) not in known:
            reading.problems.append(f"event {head['seq']} isn't the one that the head names")
        elif last and not head:
            reading.problems.append(f"the head {self._places.head} is gone")

    def _read_lines(
        self, raw: bytes, start: int, before: tuple[int, str], reading: _Reading
    ) -> None:
        (seq, prev), torn = before, b""
        after = f" after event {seq}" if start else ""
        lines = raw.split(b"\n")
        rest = lines.pop()
        place = start
        for number, line in enumerate(lines, 1):
            place += len(line) + 1
            entry = self._checked(line)
            if torn:
                if entry and entry["event"] == TORN and entry.get("sha256") == _sha256(torn):
                    reading.notes.append(f"line {number - 1} was torn by a crash; this is recorded")
                else:
                    reading.problems.append(f"line {number - 1}{after} was edited or damaged")
                torn = b""
            if entry is None:
                torn = line or b"\n"
                continue
            if entry["seq"] != seq + 1 or entry["prev"] != prev:
                reading.problems.append(
                    f"line {number}{after} (event {entry['seq']}) doesn't follow event {seq}: "
                    "something was removed, added or moved"
                )
            prev, seq = entry["hash"], entry["seq"]
            reading.entries.append(entry)
            reading.places.append((place - len(line) - 1, place))
        if torn:
            reading.problems.append(f"line {len(lines)}{after} was edited or damaged")
        if rest:
            reading.notes.append("the last line was torn by a crash; the next event will record it")

    def _find_approval(
        self, descriptor: int, request_id: str
    ) -> tuple[int, tuple[int, str]] | None:
        """Where the line of its approval begins, and the number and hash before that."""
        named = b'"id":' + canonical(request_id)
        for start, line in _lines_back(descriptor):
            entry = self._checked(line) if named in line else None
            if entry and entry["id"] == request_id and entry["event"] == "approved":
                return start, (entry["seq"] - 1, entry["prev"])
        return None

    def _checkpoint(self, descriptor: int) -> _Checkpoint | None:
        """The stored one, when it is ours and its line is still in its place."""
        try:
            stored = parse(self._places.checkpoint.read_bytes())
            body = {name: stored[name] for name in ("seq", "hash", "start", "end")}
            if not hmac.compare_digest(self._mac(_sha256(canonical(body))), stored["mac"]):
                return None
            found = _Checkpoint(**body)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        entry = self._checked(os.pread(descriptor, found.end - found.start, found.start)[:-1])
        same = entry and (entry["seq"], entry["hash"]) == (found.seq, found.hash)
        return found if same else None

    def _advance(self, old: _Checkpoint | None, reading: _Reading, head: int) -> None:
        """Remember what was read, up to the head: a head that lies behind is still compared."""
        whole = [number for number, entry in enumerate(reading.entries) if entry["seq"] <= head]
        if not whole:
            return
        entry, (start, end) = reading.entries[whole[-1]], reading.places[whole[-1]]
        if entry["seq"] - (old.seq if old else 0) < _CHECKPOINT_EVERY:
            return
        body = {"seq": entry["seq"], "hash": entry["hash"], "start": start, "end": end}
        sealed = {**body, "mac": self._mac(_sha256(canonical(body)))}
        with suppress(OSError):  # a full disk: the next execution reads a little more
            write_private(self._places.checkpoint, canonical(sealed))

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
        last, torn = self._end(descriptor)
        seq, prev, newest = self._last(last)
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

    def _last(self, line: bytes | None) -> tuple[int, str, float]:
        if line is None:
            return (*_BEGINNING, 0.0)
        entry = self._checked(line)
        if entry is None:
            raise ApprovalError(tr("the audit log's last line was edited or damaged"), hint=_HINT)
        return int(entry["seq"]), str(entry["hash"]), float(entry["newest"])

    def _end(self, descriptor: int) -> tuple[bytes | None, bytes]:
        """The last whole line, and what stands after the last newline."""
        lines = _lines_back(descriptor)
        _, torn = next(lines)
        last = next(lines, None)
        return (last[1] if last else None), torn

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


def _lines_back(descriptor: int) -> Iterator[tuple[int, bytes]]:
    """Where each line begins, and the line, from the end; first what follows the last newline."""
    position, kept = os.fstat(descriptor).st_size, b""
    while position > 0:
        step = min(_BLOCK, position)
        position -= step
        first, *lines = (os.pread(descriptor, step, position) + kept).split(b"\n")
        start = position + len(first) + sum(len(line) + 1 for line in lines) + 1
        for line in reversed(lines):
            start -= len(line) + 1
            yield start, line
        kept = first
    yield 0, kept


def _verdict(reading: _Reading) -> Verdict:
    return Verdict(tuple(reading.entries), tuple(reading.problems), tuple(reading.notes))


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
