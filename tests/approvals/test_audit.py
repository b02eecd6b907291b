"""The audit log tells when something in it was changed, taken out, or cut off."""

from __future__ import annotations

import hashlib
import json
import resource
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from local_ai_suite.approvals.canonical import canonical
from local_ai_suite.approvals.places import write_private
from local_ai_suite.errors import ApprovalError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from approval_room import Room


def fill(room: Room, count: int = 3) -> list[bytes]:
    for number in range(count):
        request = room.ask(note=f"note {number}")
        room.approve(request)
        room.gate.execute(request.id)
    return room.places.audit.read_bytes().splitlines(keepends=True)


def rewrite(room: Room, lines: list[bytes]) -> None:
    room.places.audit.write_bytes(b"".join(lines))


def test_a_whole_log_is_whole_and_tells_the_story_in_order(room: Room) -> None:
    fill(room, 1)
    verdict = room.audit.verify()
    assert verdict.ok
    events = [entry["event"] for entry in verdict.entries]
    assert events == ["requested", "approved", "executing", "done"]


def test_log_and_head_are_readable_by_their_owner_only(room: Room) -> None:
    fill(room, 1)
    for path in (room.places.audit, room.places.head, room.places.key, room.places.database):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for entry in room.places.folder.iterdir():
        assert stat.S_IMODE(entry.stat().st_mode) & 0o077 == 0


def test_every_single_edited_byte_is_found(room: Room) -> None:
    raw = b"".join(fill(room, 1))
    for place in range(0, len(raw), 7):
        edited = bytearray(raw)
        edited[place] ^= 0x01
        room.places.audit.write_bytes(bytes(edited))
        assert not room.audit.verify().ok, f"byte {place} of {raw[place : place + 20]!r}"


def test_every_removed_line_is_found(room: Room) -> None:
    lines = fill(room)
    for number in range(len(lines)):
        rewrite(room, lines[:number] + lines[number + 1 :])
        assert not room.audit.verify().ok, f"line {number + 1}"


def test_every_cut_tail_is_found(room: Room) -> None:
    lines = fill(room)
    for number in range(len(lines)):
        rewrite(room, lines[:number])
        assert not room.audit.verify().ok, f"cut before line {number + 1}"
        assert "cut off" in " ".join(room.audit.verify().problems)


def test_swapped_repeated_and_emptied_lines_are_found(room: Room) -> None:
    lines = fill(room)
    for forged in (
        [lines[1], lines[0], *lines[2:]],
        [*lines, lines[-1]],
        [lines[0], b"\n", *lines[1:]],
    ):
        rewrite(room, forged)
        assert not room.audit.verify().ok


def test_a_chain_made_anew_without_the_key_is_found(room: Room) -> None:

    lines = [json.loads(line) for line in fill(room, 1)]
    prev = "0" * 64
    forged = []
    for entry in lines:
        body = {k: v for k, v in entry.items() if k not in {"hash", "mac"}}
        body["principal"], body["prev"] = "somebody:else", prev
        prev = hashlib.sha256(canonical(body)).hexdigest()
        forged.append(canonical({**body, "hash": prev, "mac": entry["mac"]}) + b"\n")
    rewrite(room, forged)
    assert not room.audit.verify().ok


def test_a_log_that_is_gone_or_a_head_that_is_gone_is_found(room: Room) -> None:
    fill(room, 1)
    head = room.places.head.read_bytes()
    room.places.head.unlink()
    assert not room.audit.verify().ok
    room.places.head.write_bytes(head)
    room.places.audit.unlink()
    assert not room.audit.verify().ok


def test_an_edited_head_is_found(room: Room) -> None:
    fill(room, 1)
    head = json.loads(room.places.head.read_bytes())
    room.places.head.write_bytes(json.dumps({**head, "seq": 1}).encode())
    assert not room.audit.verify().ok


def test_a_line_torn_by_a_crash_is_told_and_not_taken_for_an_edit(room: Room) -> None:
    lines = fill(room, 1)
    with room.places.audit.open("ab") as file:
        file.write(lines[0][:40])
    assert room.audit.verify().ok
    room.ask(note="after the crash")
    verdict = room.audit.verify()
    assert verdict.ok
    assert "torn" in verdict.notes[0]
    assert [entry["event"] for entry in verdict.entries][-2:] == ["torn_line", "requested"]


def test_a_head_one_crash_behind_is_no_problem(room: Room) -> None:
    fill(room, 1)
    behind = room.places.head.read_bytes()
    room.ask(note="one more")
    room.places.head.write_bytes(behind)
    assert room.audit.verify().ok
    room.ask(note="and another")
    assert room.audit.verify().ok


def test_nothing_runs_over_a_broken_log(room: Room) -> None:
    request = room.ask()
    room.approve(request)
    lines = room.places.audit.read_bytes().splitlines(keepends=True)
    rewrite(room, lines[1:])
    with pytest.raises(ApprovalError, match="not whole"):
        room.gate.execute(request.id)
    assert room.trace() == []


def test_secrets_stay_out_of_the_log(room: Room) -> None:
    secret = "ghp_" + "a1b2" * 9
    request = room.ask(note=f"use {secret} now")
    room.gate.reject(request.id, f"it holds {secret}, and password=hunter22")
    raw = room.places.audit.read_text()
    assert secret not in raw
    assert "hunter22" not in raw
    assert "[secret]" in raw


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file grows beyond ``size``: the write across it is short, as on a disk that fills up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("torn", [b"", b'{"torn'])
@pytest.mark.parametrize("more", [0, 1, 50])
def test_a_disk_that_fills_up_in_the_middle_of_a_line_costs_that_line_only(
    room: Room, more: int, torn: bytes
) -> None:
    fill(room, 1)
    with room.places.audit.open("ab") as log:
        log.write(torn)  # by a crash before
    before = room.places.audit.read_bytes()
    with largest_file(len(before) + more), pytest.raises(OSError, match="File too large"):
        room.audit.append("requested", "x", room.clock.now())
    assert room.places.audit.read_bytes() == before
    assert room.audit.verify().ok
    room.audit.append("requested", "y", room.clock.now())
    verdict = room.audit.verify()
    assert verdict.ok, verdict.problems
    assert verdict.entries[-1]["id"] == "y"


def test_a_disk_that_fills_up_in_the_middle_of_the_head_keeps_the_old_head(tmp_path: Path) -> None:
    head = tmp_path / "audit.head"
    write_private(head, b"old" * 20)
    with largest_file(30), pytest.raises(OSError, match="File too large"):
        write_private(head, b"new" * 20)
    assert head.read_bytes() == b"old" * 20
    assert [entry.name for entry in tmp_path.iterdir()] == [head.name]
