"""Random histories of request, approve, expire, crash, retry and tamper, against the guarantees."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from approval_room import Room
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from local_ai_suite.approvals.policy import Level, Policy, Rule
from local_ai_suite.approvals.store import MOVES, State
from local_ai_suite.approvals.terminal import Presence
from local_ai_suite.errors import ApprovalError

DENY_ALL = Rule(action="*", where=(), deny=True, level=None, reason="not now")
TAMPER = {
    "delete": "DELETE FROM requests WHERE id = :id",
    "state": "UPDATE requests SET state = 'approved' WHERE id = :id AND state != 'approved'",
    "record": "UPDATE requests SET record = record || ' ' WHERE id = :id",
    "progress": "UPDATE requests SET progress = replace(progress, ':3', ':1') WHERE id = :id",
    "swap": "UPDATE requests SET seal = (SELECT seal FROM requests WHERE id != :id LIMIT 1) "
    "WHERE id = :id AND (SELECT count(*) FROM requests) > 1",
}


class _DiesError(BaseException):
    """Stands for kill -9 between two steps: no `except Exception` sees it."""


class Histories(RuleBasedStateMachine):
    """What the machine believes is in `model`; the gate must never do more than that allows."""

    ids = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="lais-machine-"))
        self.room = Room(self.folder)
        self.number = 0
        self.note: dict[str, str] = {}
        self.allowed: set[str] = set()  # approved by a person or by the policy, and still in time
        self.tampered: set[str] = set()
        self.seen: dict[str, State] = {}
        self.waiting_since: dict[str, float] = {}
        self.approved_at: dict[str, float] = {}
        self.truth = 0.0  # seconds that really passed, whatever the clocks say

    def teardown(self) -> None:
        self.room.gate.close()
        shutil.rmtree(self.folder)

    @rule(
        target=ids,
        action=st.sampled_from(["low", "medium", "high", "critical"]),
        session=st.sampled_from(["", "s"]),
        ends=st.sampled_from(["ok", "ok", "fail", "break"]),
    )
    def ask(self, action: str, session: str, ends: str) -> Any:
        self.number += 1
        if self.room.policy.rules:
            with pytest.raises(ApprovalError):
                self.room.ask(action, f"n{self.number}", session=session)
            return multiple()
        note = ends if ends != "ok" else f"n{self.number}"
        try:
            request = self.room.ask(action, note, session=session)
        except ApprovalError as exc:
            assert "minute" in exc.message or "wait already" in exc.message  # noqa: PT017
            self.truth += 61
            self.room.clock.pass_seconds(61)
            request = self.room.ask(action, note, session=session)
        self.note[request.id] = note
        self.waiting_since.setdefault(request.id, self.truth)
        if request.state is State.APPROVED:
            assert request.level <= Level.MEDIUM
            self.allowed.add(request.id)
            self.approved_at[request.id] = self.truth
        return request.id

    @rule(identity=ids, level=st.sampled_from(list(Level)), right=st.booleans())
    def approve(self, identity: str, level: Level, right: bool) -> None:
        try:
            request = self.room.gate.get(identity)
            shown = request.digest if right else "0" * 64
            self.room.gate.approve(identity, shown, Presence(identity, level, "person"))
        except ApprovalError:
            return
        assert right
        assert not self.room.policy.rules
        assert identity not in self.tampered
        assert level >= request.level
        assert self.truth - self.waiting_since[identity] < 600
        self.allowed.add(identity)
        self.approved_at[identity] = self.truth

    @rule(identity=ids)
    def reject(self, identity: str) -> None:
        try:
            self.room.gate.reject(identity, "no")
        except ApprovalError:
            return
        self.allowed.discard(identity)

    @rule(
        identity=ids,
        die_at=st.sampled_from(
            ["", "", "", "locked", "moved", "noted", "begun", "executed", "ended", "recorded"]
        ),
    )
    def execute(self, identity: str, die_at: str) -> None:
        def step(name: str) -> None:
            if name == die_at:
                raise _DiesError

        before = self.room.trace()
        self.room.gate.close()
        self.room.open(on_step=step)
        with suppress(ApprovalError, _DiesError):
            self.room.gate.execute(identity)
        self.room.gate.close()
        self.room.open()
        after = self.room.trace()
        if after != before:
            assert after[:-1] == before
            assert not self.room.policy.rules
            assert identity in self.allowed
            assert identity not in self.tampered
            assert self.truth - self.approved_at[identity] < 120
        if after != before or die_at in {"begun", "executed", "ended", "recorded"}:
            self.allowed.discard(identity)

    @rule(denies=st.booleans())
    def the_policy_changes(self, denies: bool) -> None:
        self.room.gate.close()
        self.room.policy = Policy(rules=(DENY_ALL,) if denies else ())
        self.room.open()

    @rule(seconds=st.sampled_from([1, 30, 59, 60, 119, 120, 599, 600, 4_000]))
    def time_passes(self, seconds: int) -> None:
        self.truth += seconds
        self.room.clock.pass_seconds(seconds)

    @rule(seconds=st.sampled_from([1, 600, 100_000]))
    def the_wall_clock_is_set_back(self, seconds: int) -> None:
        self.room.clock.wall -= seconds

    @rule(down=st.sampled_from([1, 100, 10_000]))
    def the_machine_restarts(self, down: int) -> None:
        self.truth += down
        self.room.clock.wall += down
        self.room.clock.boot, self.room.clock.boot_id = 3.0, f"boot-{self.truth}"
        self.room.gate.close()
        self.room.open()

    @rule(identity=ids, change=st.sampled_from(list(TAMPER)))
    def tamper(self, identity: str, change: str) -> None:
        with sqlite3.connect(self.room.places.database) as raw:
            raw.execute(TAMPER[change], {"id": identity})
        raw.close()
        if identity in self.room.gate.tampered() or change == "delete":
            self.tampered.add(identity)

    @rule(identity=ids)
    def an_old_copy_of_the_row_is_put_back(self, identity: str) -> None:
        with sqlite3.connect(self.room.places.database) as raw:
            row = raw.execute("SELECT * FROM requests WHERE id = ?", (identity,)).fetchone()
        raw.close()
        if row is None or identity in self.tampered:
            return
        self.execute(identity, "")
        with sqlite3.connect(self.room.places.database) as raw:
            raw.execute("REPLACE INTO requests VALUES (?,?,?,?,?,?,?,?)", row)
        raw.close()
        self.seen.pop(identity, None)

    @invariant()
    def nothing_ran_twice(self) -> None:
        own = [note for note in self.room.trace() if note != "break"]
        assert len(own) == len(set(own))

    @invariant()
    def the_log_is_whole(self) -> None:
        assert self.room.audit.verify().ok

    @invariant()
    def states_move_forward_only(self) -> None:
        for request in self.room.gate.find():
            before = self.seen.get(request.id)
            if before is not None and before is not request.state:
                assert _reachable(before, request.state), f"{before} -> {request.state}"
            self.seen[request.id] = request.state

    @invariant()
    def what_ran_was_begun_in_the_log_first(self) -> None:
        begun = sum(e["event"] == "executing" for e in self.room.audit.verify().entries)
        assert len(self.room.trace()) <= begun


def _reachable(before: State, after: State) -> bool:
    return after in MOVES[before] or any(_reachable(step, after) for step in MOVES[before])


_ANY = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


def test_random_histories_keep_every_guarantee() -> None:
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=25, stateful_step_count=15, deadline=None, suppress_health_check=_ANY
        ),
    )


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_ten_thousand_random_histories_keep_every_guarantee() -> None:
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=10_000, stateful_step_count=20, deadline=None, suppress_health_check=_ANY
        ),
    )
