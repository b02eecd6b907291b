"""What an approval guarantees (the eight guarantees, in their order)."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from approval_room import TEST_ACTIONS, Room, SetClock

from local_ai_suite.approvals.policy import Level, Policy, Rule, read_policy
from local_ai_suite.approvals.terminal import Presence
from local_ai_suite.errors import ApprovalError, SettingsError

if TYPE_CHECKING:
    from pathlib import Path


def rule(action: str, decision: str, **where: str) -> Rule:
    levels = {level.name.lower(): level for level in Level}
    return Rule(
        action, tuple(where.items()), decision == "deny", levels.get(decision), f"{decision} it"
    )


# 1. Bound to content


def test_what_runs_is_the_stored_record(room: Room) -> None:
    request = room.ask(note="the note that was shown")
    room.approve(request)
    done = room.gate.execute(request.id)
    assert done.state == "done"
    assert room.trace() == ["the note that was shown"]


def test_two_requests_of_the_same_thing_have_different_digests(room: Room) -> None:
    first = room.ask()
    room.gate.reject(first.id, "no")
    assert room.ask().digest != first.digest


def test_a_digest_that_was_not_shown_is_not_approved(room: Room) -> None:
    request, other = room.ask(note="one"), room.ask(note="two")
    with pytest.raises(ApprovalError, match="not what was shown"):
        room.gate.approve(request.id, other.digest, room.presence(request))


def test_a_file_that_changed_since_stops_the_run(room: Room) -> None:
    file = room.work / "input"
    file.write_text("as it was")
    request = room.ask("reads", arguments={"path": "input"})
    room.approve(request)
    file.write_text("as it is")
    with pytest.raises(ApprovalError, match="is not what it was"):
        room.gate.execute(request.id)
    assert room.trace() == []
    assert room.gate.get(request.id).state == "rejected"


def test_a_file_that_became_a_link_stops_the_run(room: Room) -> None:
    file = room.work / "input"
    file.write_text("same content")
    request = room.ask("reads", arguments={"path": "input"})
    room.approve(request)
    twin = room.work / "twin"
    twin.write_text("same content")
    file.unlink()
    file.symlink_to(twin)
    with pytest.raises(ApprovalError, match="is not what it was"):
        room.gate.execute(request.id)


def test_a_file_that_appeared_or_went_since_stops_the_run(room: Room) -> None:
    for name, change in (("new", "appears"), ("old", "goes")):
        if change == "goes":
            (room.work / name).write_text("x")
        request = room.ask("reads", note=name, arguments={"path": name})
        room.approve(request)
        if change == "goes":
            (room.work / name).unlink()
        else:
            (room.work / name).write_text("x")
        with pytest.raises(ApprovalError, match="is not what it was"):
            room.gate.execute(request.id)


def test_a_folder_or_a_device_cannot_be_bound(room: Room) -> None:
    (room.work / "folder").mkdir()
    with pytest.raises(ApprovalError, match="regular file"):
        room.ask("reads", arguments={"path": "folder"})


@pytest.mark.parametrize(
    "arguments",
    [{}, {"note": 3}, {"note": "x", "more": "y"}, {"note": "\ud800"}, {"note": "x" * 1_000_001}],
)
def test_arguments_that_do_not_fit_are_refused(room: Room, arguments: dict[str, object]) -> None:
    with pytest.raises(ApprovalError, match="high"):
        room.gate.request("high", arguments, component="test", cwd=room.work)


def test_no_action_may_touch_the_approvals_own_files(room: Room) -> None:
    room.work = room.places.folder
    with pytest.raises(ApprovalError, match="belongs to the approvals"):
        room.ask("reads", arguments={"path": "policy.toml"})


# 2. Single use


def test_an_approval_runs_once(room: Room) -> None:
    request = room.ask()
    room.approve(request)
    room.gate.execute(request.id)
    with pytest.raises(ApprovalError, match="is done, not approved"):
        room.gate.execute(request.id)
    assert room.trace() == ["hello"]


def test_approving_twice_does_nothing(room: Room) -> None:
    request = room.ask()
    room.approve(request)
    with pytest.raises(ApprovalError, match="is approved already"):
        room.approve(request)
    room.gate.execute(request.id)
    with pytest.raises(ApprovalError, match="is done already"):
        room.approve(request)
    assert room.trace() == ["hello"]


def test_a_failed_and_an_unknown_run_are_not_repeated(room: Room) -> None:
    for note, state, trace in (("fail", "failed", []), ("break", "unknown", ["break"])):
        request = room.ask(note=note)
        room.approve(request)
        assert room.gate.execute(request.id).state == state
        with pytest.raises(ApprovalError, match="not approved"):
            room.gate.execute(request.id)
        assert room.trace() == trace


def test_asking_again_for_what_ended_as_unknown_says_so(room: Room) -> None:
    request = room.ask(note="break")
    room.approve(request)
    room.gate.execute(request.id)
    again = room.ask(note="break")
    assert [other.id for other in room.gate.same_unknown(again)] == [request.id]


def test_an_old_copy_of_the_queue_put_back_does_not_run_a_second_time(room: Room) -> None:
    request = room.ask()
    room.approve(request)
    room.gate.close()
    files = [room.places.database.with_name(f"queue.db{end}") for end in ("", "-wal", "-shm")]
    copies = {file: file.read_bytes() for file in files if file.exists()}
    room.open().execute(request.id)
    room.gate.close()
    for file in files:
        file.unlink(missing_ok=True)
    for file, content in copies.items():
        file.write_bytes(content)
        file.chmod(0o600)
    gate = room.open()
    assert gate.get(request.id).state == "approved"
    with pytest.raises(ApprovalError, match="begun before"):
        gate.execute(request.id)
    assert gate.get(request.id).state == "unknown"
    assert room.trace() == ["hello"]


# 3. Expiry, by both clocks


def test_a_pending_request_dies_after_ten_minutes(room: Room) -> None:
    request = room.ask()
    room.clock.pass_seconds(599)
    room.gate.sweep()
    assert room.gate.get(request.id).state == "pending"
    room.clock.pass_seconds(1)
    with pytest.raises(ApprovalError, match="is expired already"):
        room.approve(request)


@pytest.mark.parametrize(("action", "seconds"), [("high", 120), ("critical", 60)])
def test_an_unused_approval_dies_sooner(room: Room, action: str, seconds: int) -> None:
    for wait, dead in ((seconds - 1, False), (seconds, True)):
        request = room.ask(action, note=f"{wait}")
        room.approve(request)
        room.clock.pass_seconds(wait)
        if dead:
            with pytest.raises(ApprovalError, match="expired"):
                room.gate.execute(request.id)
        else:
            room.gate.execute(request.id)
    assert room.trace() == [str(seconds - 1)]


def test_a_plan_under_review_waits_for_days(room: Room) -> None:
    request = room.ask("days")
    room.clock.pass_seconds(6 * 86_400)
    room.approve(request)
    assert room.gate.execute(request.id).state == "done"


def test_setting_the_wall_clock_back_does_not_prolong_a_life(room: Room) -> None:
    request = room.ask()
    room.clock.boot += 601
    room.clock.wall -= 3_000
    with pytest.raises(ApprovalError, match="expired"):
        room.approve(request)


def test_a_boot_clock_that_stands_still_does_not_prolong_a_life(room: Room) -> None:
    request = room.ask()
    room.clock.wall += 601
    with pytest.raises(ApprovalError, match="expired"):
        room.approve(request)


def test_a_clock_set_back_across_a_reboot_ends_a_life(room: Room) -> None:
    request = room.ask("days")
    room.clock.pass_seconds(3_600)
    room.ask(note="leaves the newest time in the log")
    room.clock.boot_id, room.clock.boot = "second-boot", 5.0
    room.clock.wall -= 1_800
    with pytest.raises(ApprovalError, match="expired"):
        room.approve(request)


def test_a_reboot_alone_does_not_end_the_review_of_a_plan(room: Room) -> None:
    request = room.ask("days")
    room.clock.boot_id, room.clock.boot = "second-boot", 5.0
    room.clock.wall += 3_600
    assert room.approve(request).state == "approved"


# 4. No self-approval (the terminal itself: test_terminal.py)


def test_a_presence_for_one_request_does_not_approve_another(room: Room) -> None:
    one, two = room.ask(note="one"), room.ask(note="two")
    with pytest.raises(ApprovalError, match="takes more than was given"):
        room.gate.approve(two.id, two.digest, room.presence(one))


def test_a_critical_request_is_not_approved_by_a_plain_yes(room: Room) -> None:
    request = room.ask("critical")
    with pytest.raises(ApprovalError, match="takes more than was given"):
        room.approve(request, Level.HIGH)
    assert room.approve(request, Level.CRITICAL).state == "approved"


# 6. Policy


def test_low_runs_and_high_asks(room: Room) -> None:
    assert room.ask("low").state == "approved"
    assert room.ask("high").state == "pending"
    assert room.ask("critical").state == "pending"


def test_medium_asks_once_per_session(room: Room) -> None:
    first = room.ask("medium", "one", session="s1")
    assert first.state == "pending"
    room.approve(first)
    assert room.ask("medium", "two", session="s1").state == "approved"
    assert room.ask("medium", "three", session="s2").state == "pending"
    assert room.ask("medium", "four").state == "pending"
    assert room.ask("high", "five", session="s1").state == "pending"


def test_a_session_ends_with_the_working_day_and_with_a_reboot(room: Room) -> None:
    room.approve(room.ask("medium", "one", session="s"))
    room.clock.boot_id = "second-boot"
    room.clock.wall += 10
    assert room.ask("medium", "two", session="s").state == "pending"
    room.clock.boot_id = "first-boot"
    room.clock.pass_seconds(9 * 3600)
    assert room.ask("medium", "three", session="s").state == "pending"


def test_medium_runs_where_the_policy_says_so(room: Room) -> None:
    room.open(policy=Policy(medium_asks=False))
    assert room.ask("medium").state == "approved"
    assert room.ask("high").state == "pending"


def test_a_denial_wins_over_everything(room: Room) -> None:
    rules = (rule("low", "critical"), rule("*", "deny"), rule("low", "low"))
    room.open(policy=Policy(rules=rules))
    with pytest.raises(ApprovalError, match="denied by the policy: deny it"):
        room.ask("low")
    assert room.audit.verify().entries[-1]["event"] == "denied"
    assert [request.state for request in room.gate.find()] == ["rejected"]


def test_a_flood_of_denied_requests_meets_the_limit_too(room: Room) -> None:
    room.open(policy=Policy(most_per_minute=3, rules=(rule("*", "deny"),)))
    for number in range(3):
        with pytest.raises(ApprovalError, match="denied"):
            room.ask(note=f"{number}")
    events = len(room.audit.verify().entries)
    with pytest.raises(ApprovalError, match="3 are allowed"):
        room.ask(note="one more")
    assert len(room.audit.verify().entries) == events


def test_a_rule_raises_and_never_lowers(room: Room) -> None:
    room.open(policy=Policy(rules=(rule("low", "high"), rule("critical", "low"))))
    assert room.ask("low").level is Level.HIGH
    assert room.ask("critical").level is Level.CRITICAL


def test_a_rule_may_look_at_arguments(room: Room) -> None:
    room.open(policy=Policy(rules=(rule("high", "deny", note="secret*"),)))
    assert room.ask("high", "open").state == "pending"
    with pytest.raises(ApprovalError, match="denied"):
        room.ask("high", "secret plan")


def test_a_denial_that_came_later_stops_what_was_approved_before(room: Room) -> None:
    waiting, ready = room.ask(note="waiting"), room.ask(note="ready")
    room.approve(ready)
    room.open(policy=Policy(rules=(rule("high", "deny"),)))
    with pytest.raises(ApprovalError, match="denied"):
        room.approve(waiting)
    with pytest.raises(ApprovalError, match="denied"):
        room.gate.execute(ready.id)
    assert room.trace() == []


def test_a_level_raised_after_the_approval_stops_the_run(room: Room) -> None:
    request = room.ask()
    room.approve(request)
    room.open(policy=Policy(rules=(rule("high", "critical"),)))
    with pytest.raises(ApprovalError, match="approved for less"):
        room.gate.execute(request.id)


def test_another_version_of_an_action_does_not_run_an_old_record(room: Room) -> None:
    request = room.ask()
    room.approve(request)
    newer = {**TEST_ACTIONS, "high": replace(TEST_ACTIONS["high"], version=2)}
    room.open(actions=newer)
    with pytest.raises(ApprovalError, match="version"):
        room.gate.execute(request.id)


@pytest.mark.parametrize(
    "table",
    [
        {"medum": "ask"},
        {"medium": "never"},
        {"most_pending": 0},
        {"most_pending": True},
        {"rule": [{"action": "x"}]},
        {"rule": [{"action": "x", "decision": "allow"}]},
        {"rule": [{"decision": "deny"}]},
        {"rule": [{"action": "x", "decision": "deny", "were": {}}]},
        {"rule": {"action": "x"}},
    ],
)
def test_a_policy_with_a_mistake_is_not_taken_for_an_empty_one(table: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        read_policy(table)


def test_a_policy_file_that_is_not_toml_or_open_to_others_is_an_error(tmp_path: Path) -> None:
    from local_ai_suite.approvals.policy import load_policy

    file = tmp_path / "policy.toml"
    file.write_text("medium = ")
    file.chmod(0o600)
    with pytest.raises(SettingsError, match=r"policy\.toml"):
        load_policy(file)
    file.write_text('medium = "run"')
    assert not load_policy(file).medium_asks
    file.chmod(0o666)
    with pytest.raises(ApprovalError, match="open to other users"):
        load_policy(file)


# 7. Audit (the log itself: test_audit.py)


def test_the_log_is_written_before_and_after_the_execution(room: Room) -> None:
    seen: list[str] = []

    def look(step: str) -> None:
        seen.append(f"{step}: {room.audit.verify().entries[-1]['event']}")

    room.open(on_step=look)
    request = room.ask()
    room.approve(request)
    room.gate.execute(request.id)
    assert seen == [
        "locked: approved",
        "moved: approved",
        "noted: executing",
        "begun: executing",
        "executed: executing",
        "ended: executing",
        "recorded: done",
    ]


# 8. Limits


def test_identical_pending_requests_are_one(room: Room) -> None:
    first = room.ask()
    assert room.ask(justification="another reason", session="another").id == first.id
    assert room.ask(note="other").id != first.id
    assert len(room.gate.find()) == 2


def test_a_flood_is_stopped_by_both_limits(room: Room) -> None:
    room.open(policy=Policy(most_pending=5, most_per_minute=3))
    for number in range(3):
        room.ask(note=f"{number}")
    with pytest.raises(ApprovalError, match="3 are allowed"):
        room.ask(note="one more")
    room.clock.pass_seconds(61)
    room.ask(note="3")
    room.ask(note="4")
    with pytest.raises(ApprovalError, match="wait already"):
        room.ask(note="5")


# Tampering with the queue


def test_no_edited_column_is_ever_acted_on(room: Room) -> None:
    request = room.ask(note="harmless")
    for column, value in {
        "state": "approved",
        "record": '{"action":"high"}',
        "progress": "{}",
        "principal": "somebody:else",
        "created": 0.0,
        "content_key": "0",
    }.items():
        with sqlite3.connect(room.places.database) as raw:
            (before,) = raw.execute(f"SELECT {column} FROM requests").fetchone()
            raw.execute(f"UPDATE requests SET {column} = ?", (value,))
        with pytest.raises(ApprovalError, match="seal is broken"):
            room.approve(request)
        with pytest.raises(ApprovalError, match="seal is broken"):
            room.gate.execute(request.id)
        assert room.gate.tampered() == [request.id]
        assert room.gate.find() == []
        with sqlite3.connect(room.places.database) as raw:
            raw.execute(f"UPDATE requests SET {column} = ?", (before,))
    assert room.approve(request).state == "approved"
    assert room.trace() == []


def test_one_rows_seal_does_not_fit_another(room: Room) -> None:
    one, two = room.ask(note="one"), room.ask(note="two")
    room.approve(one)
    with sqlite3.connect(room.places.database) as raw:
        state, progress, seal = raw.execute(
            "SELECT state, progress, seal FROM requests WHERE id = ?", (one.id,)
        ).fetchone()
        raw.execute(
            "UPDATE requests SET state = ?, progress = ?, seal = ? WHERE id = ?",
            (state, progress, seal, two.id),
        )
    with pytest.raises(ApprovalError, match="seal is broken"):
        room.gate.execute(two.id)


def test_an_approval_that_the_log_does_not_know_is_not_run(room: Room) -> None:
    """Who has the key can seal a row, but not put events into the middle of the log's story."""
    request = room.ask()
    moved = room.store
    with moved.transaction():
        moved.move(
            request,
            moved.get(request.id).state.__class__.APPROVED,
            approved=room.clock.now().as_list(),
            approved_level=3,
            decided_by="forged",
        )
    with pytest.raises(ApprovalError, match="doesn't know"):
        room.gate.execute(request.id)
    assert room.trace() == []


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_database_cut_in_the_middle_is_told_and_nothing_runs(room: Room, share: float) -> None:
    for number in range(20):
        room.ask(note=f"{number} " + "x" * 2_000)
        room.clock.pass_seconds(5)
    request = room.ask()
    room.approve(request)
    room.store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    room.gate.close()
    raw = room.places.database.read_bytes()
    room.places.database.write_bytes(raw[: int(len(raw) * share)])
    with pytest.raises(ApprovalError, match="damaged"):
        room.open().execute(request.id)
    assert room.trace() == []


def test_a_queue_that_is_no_database_is_told(room: Room) -> None:
    room.gate.close()
    room.places.database.write_bytes(b"not a database, " * 1_000)
    with pytest.raises(ApprovalError, match="damaged"):
        room.open()


def test_a_lost_key_stops_everything(room: Room) -> None:
    room.ask()
    room.places.key.unlink()
    with pytest.raises(ApprovalError, match=r"key .* is gone"):
        room.open()


def test_a_key_that_others_can_read_stops_everything(room: Room) -> None:
    room.places.key.chmod(0o644)
    with pytest.raises(ApprovalError, match="open to other users"):
        room.open()


def test_another_key_approves_nothing(room: Room) -> None:
    request = room.ask()
    room.places.key.write_bytes(b"k" * 32)
    room.open(clock=SetClock())
    with pytest.raises(ApprovalError, match="seal is broken"):
        room.gate.approve(request.id, request.digest, Presence(request.id, Level.CRITICAL, "x"))
