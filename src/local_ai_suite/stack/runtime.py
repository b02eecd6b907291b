"""Up and down, whatever the runtime is: what `make up-p1` and `make down` do.

``report`` is called with one line for each thing that happens; printing it is the door's work.
"""

from __future__ import annotations

import hashlib
import signal
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, NoReturn

import psutil

from local_ai_suite.errors import SettingsError, StackError
from local_ai_suite.messages import joined, tr
from local_ai_suite.settings import Settings, load_settings
from local_ai_suite.stack import containers, docker, native, status
from local_ai_suite.stack.phases import API_GATEWAY, check_phase, services_of
from local_ai_suite.stack.ports import check_free
from local_ai_suite.stack.waiting import (
    ENDED,
    is_ready,
    load_default,
    refreshed,
    wait_for_services,
)

from .state import exclusive, marked_processes, read_run, write_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from local_ai_suite.paths import Paths

    from .state import Holder, RunState

GATEWAY = API_GATEWAY.name
# `down` waits this long for another command: an `up` that was told to stop, with all its services.
DOWN_LOCK_S = 90.0
_CHANGED = tr("the settings have changed since it was started: make restart")


@dataclass(frozen=True, slots=True)
class UpOutcome:
    """``already`` says that nothing had to be done; ``notes`` are worth a warning."""

    stack: status.StackReport
    already: bool
    seconds: float
    notes: tuple[str, ...]


def address(settings: Settings, run: RunState | None = None) -> str:
    """What a client is given as its base URL; the port of ``run`` when something runs.

    The settings may have changed since it was started.
    """
    gateway = [service.port for service in run.services if service.name == GATEWAY] if run else []
    return f"http://localhost:{(*gateway, settings.api_gateway_port)[0]}/v1"


def settings_digest(settings: Settings) -> str:
    """Tells whether a running stack was started with the settings that stand there now."""
    values = {
        item.name: getattr(settings, item.name)
        for item in fields(settings)
        if "reader" in item.metadata
    }
    return hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()[:16]


def up(phase: str, settings: Settings, paths: Paths, report: Callable[[str], None]) -> UpOutcome:
    """Start ``phase`` and wait until it really answers; a second call changes nothing.

    Raises :class:`StackError` (with the end of the log) when a service or a model does not come up;
    nothing that this call started is left running then, nor after Ctrl-C or SIGTERM.
    """
    with _ended_by_sigterm():
        return _up(phase, settings, paths, report)


def _up(phase: str, settings: Settings, paths: Paths, report: Callable[[str], None]) -> UpOutcome:
    began = time.monotonic()
    paths.ensure_state()
    with exclusive(paths.lock_file, "up", on_wait=_told_to(report)):
        run = _that_can_stay(phase, paths, report)
        notes: list[str] = []
        started = run is None
        if run is None:
            notes += _start_or_leave_nothing(phase, settings, paths, report)
            run = refreshed(paths)
        elif run.settings_digest != settings_digest(settings):
            notes.append(_CHANGED)
    already = not started and is_ready(run)
    try:
        ready = wait_for_services(run, paths, report)
        load_default(ready, settings, paths, report)
        stack = status.report(
            ready, address=address(settings, ready), key=settings.litellm_master_key
        )
    except BaseException:  # Ctrl-C too: nothing half started is left
        if started:
            with _uninterrupted():
                _stop_run(run, paths, report)
        raise
    return UpOutcome(stack, already, time.monotonic() - began, tuple(notes))


def _that_can_stay(phase: str, paths: Paths, report: Callable[[str], None]) -> RunState | None:
    """The run that goes on, if it is all that ``phase`` asks for; else nothing runs afterwards."""
    run = refreshed(paths)
    if run is None:
        return None
    failed = [service.name for service in run.services if service.phase in ENDED]
    missing = {service.name for service in services_of(phase)} - {s.name for s in run.services}
    if not failed and not missing:
        return run
    if failed:
        report(tr("a service had failed for good; starting everything again"))
    else:
        report(tr("phase {phase} runs; starting it again with more", phase=run.stack_phase))
    _stop(paths, report)
    return None


def _start_or_leave_nothing(
    phase: str, settings: Settings, paths: Paths, report: Callable[[str], None]
) -> tuple[str, ...]:
    try:
        return _start(phase, settings, paths, report)
    except BaseException:
        with _uninterrupted():
            _stop(paths, report)
        raise


def _stop_run(run: RunState | None, paths: Paths, report: Callable[[str], None]) -> None:
    """Stop ``run`` unless somebody has done so: what runs then is another's."""
    with exclusive(paths.lock_file, "up", timeout_s=DOWN_LOCK_S):
        now = read_run(paths.run_file)
        if now is not None and now.is_same(run):
            _stop(paths, report)


def _told_to(report: Callable[[str], None]) -> Callable[[Holder], None]:
    return lambda holder: report(
        tr(
            "waiting for `{command}` (pid {pid}), which is at work here",
            command=holder.command,
            pid=holder.process.pid,
        )
    )


def _exit_on_signal(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)  # what a shell says of a program that a signal ended


@contextmanager
def _on(numbers: tuple[signal.Signals, ...], action: Any) -> Iterator[None]:
    """``action`` for these signals, in the main thread: no other gets them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [(number, signal.signal(number, action)) for number in numbers]
    try:
        yield
    finally:
        for number, old in before:
            signal.signal(number, old)


def _ended_by_sigterm() -> AbstractContextManager[None]:
    """SIGTERM becomes an exception, so that what was half started is cleaned up."""
    return _on((signal.SIGTERM,), _exit_on_signal)


def _uninterrupted() -> AbstractContextManager[None]:
    """An impatient second signal must not stop the cleaning up, which is bounded."""
    return _on((signal.SIGINT, signal.SIGTERM), signal.SIG_IGN)


def _start(
    phase: str, settings: Settings, paths: Paths, report: Callable[[str], None]
) -> tuple[str, ...]:
    """Start ``phase`` in the runtime of choice; returns what is worth a warning."""
    check_phase(phase)
    notes: list[str] = []
    run = read_run(paths.run_file)
    if run is not None and run.runtime == "docker" and (away := _containers_away(paths)):
        if settings.runtime != "native":
            raise containers.unreachable(away) from away
        notes.append(
            tr(
                "containers of an earlier run cannot be reached ({message}); when Docker "
                "runs again, make down removes them",
                message=away.message,
            )
        )
    if marked_processes(paths.project) or paths.run_file.exists():
        ended = native.sweep(paths)
        notes.append(
            tr("the last run had crashed; {ended} leftover processes were ended", ended=ended)
        )
    report(tr("choosing the runtime"))
    choice = docker.choose(phase, settings, paths, report)
    report(tr("runtime {runtime}: {reason}", runtime=choice.runtime, reason=choice.reason))
    if choice.runtime == "docker" and containers.stop(paths):
        notes.append(tr("containers that an interrupted start had left behind were removed"))
    for service in services_of(phase):
        if (config := service.config_file(paths)) is not None and not config.is_file():
            raise StackError(
                tr("{name} needs {config}, which is missing", name=service.name, config=config),
                hint=tr("Restore it: git checkout {config}", config=config),
            )
        check_free(service.port_setting, service.port(settings), by_root=choice.runtime == "docker")
    digest = settings_digest(settings)
    if choice.runtime == "docker":
        run, more = docker.start(phase, settings, paths, report)
        notes += more
        write_run(paths.run_file, replace(run, settings_digest=digest))
    else:
        report(tr("starting the services"))
        native.start(phase, settings, paths, digest=digest)
    return tuple(notes)


def _containers_away(paths: Paths) -> StackError | None:
    try:
        containers.ask_containers(paths)
    except StackError as exc:
        return exc
    return None


def down(paths: Paths, report: Callable[[str], None]) -> int:
    """Stop whatever runs of this project, in either runtime; returns how many things were stopped.

    Also what an earlier RUNTIME started: processes and containers are both looked for. An `up` that
    is at work is told to stop, and cleans up by itself.
    """
    paths.ensure_state()
    with exclusive(
        paths.lock_file, "down", timeout_s=DOWN_LOCK_S, on_wait=lambda holder: _end(holder, report)
    ):
        return _stop(paths, report)


def _end(holder: Holder, report: Callable[[str], None]) -> None:
    _told_to(report)(holder)
    process = holder.process.process()
    if holder.command == "up" and process is not None:
        with suppress(psutil.Error):
            process.terminate()
            process.resume()  # one that stands still (Ctrl-Z) would not see it


def _stop(paths: Paths, report: Callable[[str], None]) -> int:
    run = read_run(paths.run_file)
    contained = containers.stop(paths, surely=run is not None and run.runtime == "docker")
    return contained + native.stop(paths, report)


def processes(paths: Paths) -> list[psutil.Process]:
    """What runs of this project here; none where Docker's engine runs on another machine."""
    run = read_run(paths.run_file)
    if run is not None and run.runtime == "docker":
        return containers.processes(paths)
    return marked_processes(paths.project)


def current(paths: Paths, settings: Settings) -> status.StackReport:
    """What runs now, also after the supervisor was killed."""
    run = read_run(paths.run_file)
    watched = run is None or run.runtime == "docker" or native.running(paths) is not None
    if run is not None and run.runtime == "docker":
        run = containers.measured(containers.services(paths, run))
    key = settings.litellm_master_key
    return status.report(run, address=address(settings, run), key=key, watched=watched)


def settings_of_run(paths: Paths) -> Settings | None:
    """The settings that what runs was started with; ``None`` when nobody kept them."""
    kept = replace(paths, settings_file=paths.run_settings)
    nobodys: dict[str, str] = {}
    for environ in (None, nobodys):  # the environment of this command may be what is wrong
        with suppress(SettingsError):
            if paths.run_settings.is_file():
                return load_settings(kept, environ=environ)
    return None


def settings_and_trouble(paths: Paths) -> tuple[Settings, tuple[str, ...]]:
    """The settings with which to ask what runs, and what is to be said of those that stand there
    now: they are broken, or not the ones that it was started with.
    """
    began = settings_of_run(paths)
    try:
        now = load_settings(paths)
    except SettingsError as exc:
        rest = (
            tr("What runs goes on with the settings that it was started with.")
            if began is not None
            else tr("Nothing will start with it.")
        )
        return began or Settings(), (joined(" ", (_sentence(exc.message), rest)),)
    return began or now, (_CHANGED,) if _env_file_has_changed(paths) else ()


def _env_file_has_changed(paths: Paths) -> bool:
    """Whether ``.env`` says something else than when what runs was started; the environment, which
    is another one in each terminal, is left out.
    """
    if not paths.run_settings.is_file():
        return False
    kept = replace(paths, settings_file=paths.run_settings)
    try:
        return load_settings(kept, environ={}) != load_settings(paths, environ={})
    except SettingsError:
        return False  # an environment variable makes up for it: who broke it was told


def _sentence(text: str) -> str:
    return text if text.endswith(".") else joined("", (text, "."))
