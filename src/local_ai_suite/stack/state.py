"""The run file (what is running here), and the lock that lets one `up` or `down` work at a time.

``run.json`` is written by the supervisor alone, atomically, mode 600. Everybody else reads it, and
believes a process only when its pid and its start time both match: pids are used again.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import psutil

from local_ai_suite.errors import AlreadyRunning
from local_ai_suite.messages import tr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local_ai_suite.paths import Paths

# Marks every process that a run started (in its environment), so that `down` finds them even when
# the run file is gone. The value is the project's folder: two clones don't touch each other.
MARKER = "LAIS_RUN_OF"
# The kernel counts start times in clock ticks (10 ms).
_SAME_START_S = 0.05
_PROC = Path("/proc")
_BOOT_ID = _PROC / "sys" / "kernel" / "random" / "boot_id"
# Spawning takes milliseconds; the other one is stuck or waits for a person after this long.
LOCK_TIMEOUT_S = 30.0
LOCK_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process that can be told from a later one with the same pid."""

    pid: int
    started: float  # seconds since this boot on Linux, since the epoch elsewhere
    boot: str = ""  # which boot, on Linux

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """The process that has ``pid`` now. Raises :class:`psutil.Error` when there is none."""
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

    ``phase`` is starting, ready, stuck (it does not answer any more), restarting, failed or
    stopped, and unreachable where Docker is away; ``reason`` says why it last ended.
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

    def is_same(self, other: RunState | None) -> bool:
        """Whether ``other`` is this run, at another moment: a later one was started by somebody."""
        return other is not None and (self.started, self.supervisor) == (
            other.started,
            other.supervisor,
        )


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


def keep_settings(paths: Paths) -> Path:
    """Copy ``.env`` to where the run that begins now keeps it, for its owner only.

    Raises :class:`OSError`.
    """
    kept = paths.run_settings
    kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = kept.with_suffix(".new")
    try:
        text = paths.env_file.read_bytes()
    except FileNotFoundError:
        text = b""  # every setting has its default, or comes from the environment
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)
    draft.replace(kept)
    return kept


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the project's lock: a command (``up``, ``down``) and its process."""

    command: str
    process: ProcessId


@contextmanager
def exclusive(
    path: Path,
    command: str,
    *,
    timeout_s: float = LOCK_TIMEOUT_S,
    on_wait: Callable[[Holder], None] = lambda _: None,
) -> Iterator[None]:
    """Hold the project's lock for ``command``; the kernel frees it when its holder dies.

    ``on_wait`` is told once who holds it, if it has to be waited for. Raises
    :class:`AlreadyRunning` that names the holder when it isn't free in time.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _wait_for_lock(descriptor, time.monotonic() + timeout_s, on_wait)
        holder = orjson.dumps(asdict(Holder(command, ProcessId.of(os.getpid()))))
        with suppress(OSError):  # a full disk: then the next one cannot tell whom it waits for
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, holder, 0)
        yield
    finally:
        os.close(descriptor)


def _wait_for_lock(descriptor: int, deadline: float, on_wait: Callable[[Holder], None]) -> None:
    told = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            holder = _holder(descriptor)
            if holder is not None and not told:
                told = True
                on_wait(holder)
            if time.monotonic() > deadline:
                command = holder.command if holder else "up` or `down"
                pid = holder.process.pid if holder else "?"
                raise AlreadyRunning(
                    tr(
                        "another `{command}` is at work in this project (pid {pid})",
                        command=command,
                        pid=pid,
                    ),
                    hint=tr("Wait for it, or end it: kill {pid}", pid=pid),
                ) from exc
            time.sleep(LOCK_POLL_S)
        else:
            return


def _holder(descriptor: int) -> Holder | None:
    """Who wrote itself into the lock, if that process lives: an earlier holder's name stands there
    until the next one has written its own."""
    try:
        data = orjson.loads(os.pread(descriptor, 1024, 0))
        holder = Holder(str(data["command"]), ProcessId(**data["process"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return holder if holder.process.process() is not None else None
