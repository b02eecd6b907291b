"""What an execution costs over a long log, and what the checkpoint lets through."""

from __future__ import annotations

import os
import sys
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from approval_room import Room

from local_ai_suite.approvals import audit
from local_ai_suite.errors import ApprovalError

if TYPE_CHECKING:
    from pathlib import Path

    from local_ai_suite.approvals.store import Request


def approved(room: Room, note: str) -> Request:
    room.clock.pass_seconds(10)
    request = room.ask(note=note)
    room.approve(request)
    return request


def fill(room: Room, events: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log of so many events more, and the finished requests that they tell of."""
    done = room.gate.execute(approved(room, "the one that is told of").id)
    room.store._connection.execute("PRAGMA synchronous = OFF")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _descriptor: None)
        patch.setattr(audit, "write_private", lambda _path, _content: None)
        with room.store.transaction(), room.audit._locked() as log:
            last = room.audit._last(room.audit._end(log)[0])
            for number in range(events // 4):
                # Somebody else, who has limits of their own.
                record = {**done.record, "principal": "somebody:else"}
                told = replace(done, id=f"{number:08d}{events % 100:02d}", record=record)
                room.store.add(told)
                for event in ("requested", "approved", "executing", "done"):
                    facts = {"digest": told.digest}
                    now = room.clock.now()
                    last = room.audit._write(
                        log, last[0] + 1, last[1], last[2], event, told.id, now, facts
                    )
    room.store._connection.execute("PRAGMA synchronous = FULL")
    room.audit.append("noted", "", room.clock.now())  # the head is where the log is
    room.gate.execute(approved(room, "the one that makes the checkpoint").id)


class Cost(Counter[str]):
    """What an execution takes, counted: a clock would measure the machine's other work, too."""

    def of(self, room: Room, number: int, patch: pytest.MonkeyPatch) -> None:
        """Add one execution, the opening of the gate included."""
        request = approved(room, f"measured {number}")
        room.gate.close()
        pread = os.pread

        def read(descriptor: int, size: int, place: int) -> bytes:
            found = pread(descriptor, size, place)
            self["bytes of the log"] += len(found)
            return found

        def called(_frame: object, event: str, _argument: object) -> None:
            self["function calls"] += event in {"call", "c_call"}

        with patch.context() as here:
            here.setattr(audit.os, "pread", read)
            sys.setprofile(called)
            try:
                gate = room.open()
                room.store._connection.set_progress_handler(self.step, 1)
                gate.execute(request.id)
                room.store._connection.set_progress_handler(None, 1)
            finally:
                sys.setprofile(None)

    def step(self) -> int:
        self["steps of the database"] += 1
        return 0


def test_an_execution_at_ten_thousand_events_costs_what_one_at_a_hundred_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = {}
    for events in (100, 10_000):
        (tmp_path / str(events)).mkdir()
        room = Room(tmp_path / str(events))
        fill(room, events, monkeypatch)
        costs[events] = Cost()
        for number in range(32):  # a checkpoint is due every 16 executions
            costs[events].of(room, number, monkeypatch)
    assert room.audit.verify().ok
    assert len(room.audit.verify().entries) > 10_000
    assert set(costs[100]) == {"bytes of the log", "function calls", "steps of the database"}
    for what, count in costs[100].items():
        assert costs[10_000][what] <= 1.2 * count, f"{what}: {costs}"


def test_everything_since_the_checkpoint_is_checked_and_verify_checks_the_rest(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(room, 400, monkeypatch)
    assert room.places.checkpoint.exists()
    raw = room.places.audit.read_bytes()
    request = approved(room, "another")
    for place, found in ((10, False), (len(raw) - 300, True)):
        log = bytearray(room.places.audit.read_bytes())
        log[place] ^= 1
        room.places.audit.write_bytes(bytes(log))
        assert not room.audit.verify().ok
        if found:
            with pytest.raises(ApprovalError, match="not whole"):
                room.gate.execute(request.id)
        log[place] ^= 1
        room.places.audit.write_bytes(bytes(log))
    assert room.gate.execute(request.id).state == "done"


def test_all_since_the_approval_is_checked_also_before_the_checkpoint(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old queue put back, and the line that tells of its use taken out further back."""
    request = approved(room, "once")
    database = room.places.database.read_bytes()
    wal = room.places.database.with_name("queue.db-wal")
    old_wal = wal.read_bytes()
    room.gate.execute(request.id)
    fill(room, 400, monkeypatch)
    assert room.places.checkpoint.exists()
    room.gate.close()
    room.places.database.write_bytes(database)
    wal.write_bytes(old_wal)
    with pytest.raises(ApprovalError, match="begun before"):
        room.open().execute(request.id)
    room.gate.close()
    room.places.database.write_bytes(database)
    wal.write_bytes(old_wal)
    lines = room.places.audit.read_bytes().splitlines(keepends=True)
    begun = [line for line in lines if request.id.encode() in line and b'"executing"' in line]
    changed = b"".join(
        line.replace(b"executing", b"executinG") if line in begun else line for line in lines
    )
    room.places.audit.write_bytes(changed)
    with pytest.raises(ApprovalError, match="not whole"):
        room.open().execute(request.id)
    assert room.trace().count("once") == 1


@pytest.mark.parametrize("damage", ["", "{}", "nonsense", "cut", "forged"])
def test_a_checkpoint_that_is_not_ours_is_no_checkpoint(
    room: Room, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    fill(room, 400, monkeypatch)
    stored = room.places.checkpoint.read_text()
    contents = {"cut": stored[:-10], "forged": stored.replace('"seq":', '"seq":1')}
    room.places.checkpoint.write_text(contents.get(damage, damage))
    request = approved(room, "another")
    log = bytearray(room.places.audit.read_bytes())
    log[10] ^= 1
    room.places.audit.write_bytes(bytes(log))
    with pytest.raises(ApprovalError, match="not whole"):
        room.gate.execute(request.id)


def test_a_log_cut_below_its_checkpoint_is_found(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(room, 400, monkeypatch)
    request = approved(room, "another")
    lines = room.places.audit.read_bytes().splitlines(keepends=True)
    room.places.audit.write_bytes(b"".join(lines[:50] + lines[-2:]))
    with pytest.raises(ApprovalError, match="not whole"):
        room.gate.execute(request.id)


def test_an_end_longer_than_a_block_is_read(room: Room) -> None:
    request = approved(room, "one")
    room.audit.append("noted", "x", room.clock.now(), words="w" * (3 * audit._BLOCK))
    assert room.gate.execute(request.id).state == "done"
    assert room.audit.verify().ok


def test_lock_files_of_what_is_done_do_not_pile_up(room: Room) -> None:
    for number in range(3):
        room.gate.execute(approved(room, f"{number}").id)
    assert list(room.places.running.iterdir()) == []
