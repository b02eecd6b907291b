"""A gate over a folder of its own, with a clock that tests set and actions that leave a trace."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from local_ai_suite.approvals.arguments import RELATIVE_PATH, text
from local_ai_suite.approvals.audit import Audit
from local_ai_suite.approvals.bound import bind
from local_ai_suite.approvals.clock import Moment
from local_ai_suite.approvals.executors import Execution, Failed
from local_ai_suite.approvals.gate import Gate
from local_ai_suite.approvals.places import Places, load_key
from local_ai_suite.approvals.policy import Level, Policy
from local_ai_suite.approvals.registry import ACTIONS, MINUTE, Action
from local_ai_suite.approvals.store import Request, Store
from local_ai_suite.approvals.terminal import Presence

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class SetClock:
    wall: float = 1_790_000_000.0
    boot: float = 1_000.0
    boot_id: str = "first-boot"

    def now(self) -> Moment:
        return Moment(self.wall, self.boot, self.boot_id)

    def pass_seconds(self, seconds: float) -> None:
        self.wall += seconds
        self.boot += seconds


def leave_trace(execution: Execution) -> dict[str, Any]:
    """Append one line to `trace` in the working directory: each line is one execution."""
    note = execution.arguments["note"]
    if note == "fail":
        raise Failed("told to fail")
    descriptor = os.open(execution.cwd / "trace", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, note.encode() + b"\n")
    os.close(descriptor)
    if note == "break":
        raise OSError("the line broke")
    return {"note": note}


def trace_action(name: str, level: Level, **more: Any) -> Action:
    return Action(
        name=name,
        version=1,
        level=level,
        fields={"note": text(1_000_000)},
        title=lambda a: f"Note {a['note'][:60]}",
        reasons=("a test",),
        execute=leave_trace,
        **more,
    )


TEST_ACTIONS = {
    **ACTIONS,
    "low": trace_action("low", Level.LOW),
    "medium": trace_action("medium", Level.MEDIUM),
    "high": trace_action("high", Level.HIGH),
    "critical": trace_action("critical", Level.CRITICAL),
    "days": trace_action("days", Level.HIGH, pending_life=7 * 24 * 60 * MINUTE),
    "reads": Action(
        name="reads",
        version=1,
        level=Level.HIGH,
        fields={"note": text(100), "path": RELATIVE_PATH},
        title=lambda a: f"Use {a['path']}",
        reasons=("a test",),
        execute=leave_trace,
        files=lambda a, cwd: [bind(cwd / a["path"], "reads")],
    ),
}


@dataclass
class Room:
    """A gate and everything around it."""

    folder: Path
    clock: SetClock = field(default_factory=SetClock)
    policy: Policy = field(default_factory=Policy)

    def __post_init__(self) -> None:
        self.places = Places(self.folder / "queue", self.folder / "elsewhere")
        self.work = self.folder / "work"
        self.work.mkdir(exist_ok=True)
        self.open()

    def open(self, **options: Any) -> Gate:
        self.places.make()
        key = load_key(self.places)
        self.audit = Audit(self.places, key)
        self.store = Store(self.places.database, key)
        options = {"clock": self.clock, "policy": self.policy, "actions": TEST_ACTIONS, **options}
        self.gate = Gate(places=self.places, store=self.store, audit=self.audit, **options)
        return self.gate

    def ask(self, action: str = "high", note: str = "hello", **more: Any) -> Request:
        arguments = {"note": note, **more.pop("arguments", {})}
        return self.gate.request(action, arguments, component="test", cwd=self.work, **more)

    def presence(self, request: Request, level: Level | None = None) -> Presence:
        return Presence(request.id, level or request.level, "tester@/dev/pts/0")

    def approve(self, request: Request, level: Level | None = None) -> Request:
        return self.gate.approve(request.id, request.digest, self.presence(request, level))

    def trace(self) -> list[str]:
        file = self.work / "trace"
        return file.read_text().splitlines() if file.exists() else []
