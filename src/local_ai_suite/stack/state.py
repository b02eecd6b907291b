"""The run file (what is running here), and the lock that lets one `up` or `down` work at a time.

``run.json`` is written by the supervisor alone, atomically, mode 600. Everybody else reads it, and
believes a process only when its pid and its start time both match: pids are used again.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import psutil

from local_ai_suite.errors import AlreadyRunning
from local_ai_suite.messages import tr

if TYPE_CHECKING:
    from collections.abc import Iterator

# Marks every process that a run started (in its environment), so that `down` finds them even when
# the run file is gone. The value is the project's folder: two clones don't touch each other.
MARKER = "LAIS_RUN_OF"
# The kernel counts start times in clock ticks (10 ms).
_SAME_START_S = 0.05
_PROC = Path("/proc")
_BOOT_ID = _PROC / "sys" / "kernel" / "random" / "boot_id"
# Spawning takes milliseconds; the other one is stuck or waits for a person after this long.
LOCK_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process that can be told from a later one with the same pid."""

    pid: int
    started: float  # seconds since this boot on Linux, since the epoch elsewhere
    boot: str = ""  # which boot, on Linux

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        return cls(pid, _start_time(pid), _boot_id())

    def process(self) -> psutil.Process | None:
        """The live process, or ``None`` when it ended (a zombie has ended)."""
        try:
            process = psutil.Process(self.pid)
            same = (
                abs(_start_time(self.pid) - self.started) < _SAME_START_S
                and self.boot == _boot_id()
            )
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None


def _start_time(pid: int) -> float:
    """When ``pid`` started, in seconds on a clock that nobody sets.

    psutil adds the time of the boot as the wall clock has it now: after the clock was set (a laptop
    or WSL2 that woke up) every process would look like another one. Raises :class:`psutil.Error`.
    """
    try:
        stat = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return psutil.Process(pid).create_time()  # no /proc: macOS
    # proc(5): the name, field 2, may hold spaces and brackets; starttime is field 22.
    ticks = int(stat[stat.rindex(b")") + 2 :].split()[19])
    return ticks / os.sysconf("SC_CLK_TCK")


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class ServiceState:
    """One service as its supervisor sees it.

    ``phase`` is starting, ready, restarting, failed or stopped, and unreachable where Docker is
    away; ``reason`` says why it last ended.
    """

    name: str
    port: int
    phase: str
    process: ProcessId | None = None
    since: float = 0.0
    restarts: int = 0
    reason: str = ""
    container: str = ""  # its id, in Docker
    memory: int | None = None  # bytes, where only Docker can tell


@dataclass(frozen=True, slots=True)
class RunState:
    """A run of the stack: its runtime, its supervisor and its services."""

    runtime: str
    stack_phase: str
    started: float
    supervisor: ProcessId | None
    services: tuple[ServiceState, ...]
    settings_digest: str = ""

    def with_service(self, service: ServiceState) -> RunState:
        others = tuple(service if s.name == service.name else s for s in self.services)
        return replace(self, services=others)


def write_run(path: Path, run: RunState) -> None:
    """Replace the run file in one step; a reader sees the old one or the new one, whole.

    Raises :class:`OSError` (a full disk); nothing half written is left then.
    """
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(orjson.dumps(asdict(run), option=orjson.OPT_INDENT_2))
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def read_run(path: Path) -> RunState | None:
    """The run file's content; ``None`` when there is none or a crash left half of one."""
    try:
        data: dict[str, Any] = orjson.loads(path.read_bytes())
        services = tuple(
            ServiceState(**{**item, "process": _process_id(item["process"])})
            for item in data.pop("services")
        )
        return RunState(
            **{**data, "supervisor": _process_id(data["supervisor"]), "services": services}
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _process_id(value: dict[str, Any] | None) -> ProcessId | None:
    return ProcessId(**value) if value else None


def marked_processes(project: Path) -> list[psutil.Process]:
    """Every live process that a run of ``project`` started, but for this one and its ancestors."""
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        if process.pid in own:
            continue
        try:
            ours = process.environ().get(MARKER) == str(project)
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


@contextmanager
def exclusive(path: Path, *, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
    """Hold the project's lock; the kernel frees it when its holder dies.

    Raises :class:`AlreadyRunning` that names the holder when it isn't free in time.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as exc:
                if time.monotonic() > deadline:
                    holder = os.pread(descriptor, 64, 0).decode(errors="replace").strip() or "?"
                    raise AlreadyRunning(
                        tr(
                            "another `up` or `down` is at work in this project (pid {holder})",
                            holder=holder,
                        ),
                        hint=tr("Wait for it, or end it: kill {holder}", holder=holder),
                    ) from exc
                time.sleep(0.1)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)
