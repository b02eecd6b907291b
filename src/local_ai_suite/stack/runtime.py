"""Up and down, whatever the runtime is: what `make up-p1` and `make down` do.

``report`` is called with one line for each thing that happens; printing it is the door's work.
"""

from __future__ import annotations

import hashlib
import http.client
import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, NoReturn

import orjson

from local_ai_suite.errors import LoadFailed, StackError
from local_ai_suite.messages import tr
from local_ai_suite.stack import containers, docker, native, probe, status
from local_ai_suite.stack.ports import check_free
from local_ai_suite.stack.services import check_phase
from local_ai_suite.stack.supervisor import tail

from .state import exclusive, marked_processes, read_run, write_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    import psutil

    from local_ai_suite.paths import Paths
    from local_ai_suite.settings import Settings

    from .state import RunState

POLL_S = 0.1
ANY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 (compared with, not bound)
DEFAULT_MODEL = "local-chat"
GATEWAY = "api-gateway"
LOG_LINES = 12
# Longer than any service's own bound (services.py): this one only ends what they forgot.
SERVICES_TIMEOUT_S = 240.0
# A service in one of these won't come back by itself.
ENDED = frozenset({"failed", "exited", "dead", "unhealthy"})
# The engine's own load timeout is a setting; this is what the stack adds before it gives up.
MODEL_SLACK_S = 30.0
# A machine on its knees answers late; a service that hangs never does.
SLOW_ANSWER_S = 30.0


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
    nothing is left running then, nor after Ctrl-C or SIGTERM.
    """
    with _ended_by_sigterm():
        return _up(phase, settings, paths, report)


def _up(phase: str, settings: Settings, paths: Paths, report: Callable[[str], None]) -> UpOutcome:
    began = time.monotonic()
    notes: list[str] = []
    ours = False  # whether what runs now was started by this call
    paths.ensure_state()
    try:
        with exclusive(paths.lock_file):
            run = _refreshed(paths)
            already = run is not None and all(service.phase == "ready" for service in run.services)
            if run is not None and run.settings_digest != settings_digest(settings):
                notes.append(tr("the settings have changed since it was started: make restart"))
            if run is not None and any(service.phase in ENDED for service in run.services):
                report(tr("a service had failed for good; starting everything again"))
                _stop(paths, report)
                run = None
            if run is None:
                ours = True
                notes += _start(phase, settings, paths, report)
        ready = _wait_for_services(paths, report)
        key = settings.litellm_master_key
        _load_default(ready, settings, report, key)
        stack = status.report(ready, address=address(settings, ready), key=key)
    except BaseException:  # Ctrl-C too: nothing half started is left
        if ours:
            with _uninterrupted():
                down(paths, report)
        raise
    return UpOutcome(stack, already, time.monotonic() - began, tuple(notes))


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
    choice = docker.choose(settings, paths, report)
    report(tr("runtime {runtime}: {reason}", runtime=choice.runtime, reason=choice.reason))
    if choice.runtime == "docker" and containers.stop(paths):
        notes.append(tr("containers that an interrupted start had left behind were removed"))
    for name, port in (
        ("INFERENCE_PORT", settings.inference_port),
        ("API_GATEWAY_PORT", settings.api_gateway_port),
    ):
        check_free(name, port, by_root=choice.runtime == "docker")
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


def _refreshed(paths: Paths) -> RunState | None:
    """The run that goes on, with its services as they are now; ``None`` when nothing runs."""
    run = read_run(paths.run_file)
    if run is not None and run.runtime == "docker":
        run = containers.services(paths, run)
        gone = all(service.phase in {"stopped", "unreachable"} for service in run.services)
        return None if gone else run
    return native.running(paths)


def _wait_for_services(paths: Paths, report: Callable[[str], None]) -> RunState:
    """Until each service is ready; the supervisor (or Docker's health check) bounds each start."""
    told = ""
    deadline = time.monotonic() + SERVICES_TIMEOUT_S
    while True:
        run = _refreshed(paths)
        if run is None:
            log = paths.logs / "supervisor.log"
            raise StackError(
                tr("the services ended: {tail}", tail=" | ".join(tail(log, 3))),
                hint=tr("Their log: {log}", log=log),
            )
        for service in run.services:
            if service.phase in ENDED:
                raise StackError(
                    tr(
                        "{name} did not start: {reason}",
                        name=service.name,
                        reason=service.reason or service.phase,
                    ),
                    hint=tr(
                        "The end of its log:\n    {log_tail}",
                        log_tail="\n    ".join(_log_tail(paths, run, service.name)),
                    ),
                    service=service.name,
                )
        waiting = [service.name for service in run.services if service.phase != "ready"]
        if run.services and not waiting:
            return run
        if time.monotonic() > deadline:
            raise StackError(
                tr(
                    "{waiting} did not become ready in {seconds:.0f} s",
                    waiting=" and ".join(waiting),
                    seconds=SERVICES_TIMEOUT_S,
                ),
                hint=tr("make logs shows what they do."),
            )
        if (line := "waiting for " + " and ".join(waiting)) != told and waiting:
            report(line)
            told = line
        time.sleep(POLL_S)


def _log_tail(paths: Paths, run: RunState, service: str) -> list[str]:
    if run.runtime == "docker":
        return containers.logs(paths, service, LOG_LINES)
    return tail(paths.logs / f"{service}.log", LOG_LINES)


def _load_default(
    run: RunState, settings: Settings, report: Callable[[str], None], key: str | None
) -> None:
    """Load ``local-chat``, so that the first question is not the one that waits.

    Raises :class:`LoadFailed` with the engine's reason, :class:`StackError` when the engine
    service says nothing. A stack of embedding models only has no ``local-chat``.
    """
    port = next(service.port for service in run.services if service.name == "inference")
    models = status.engine_models(port, key)
    if not models and _asked_here(settings) and _is_silent(port):
        raise StackError(
            tr(
                "the engine service was ready and does not answer on port {port} any more",
                port=port,
            ),
            hint=tr("make logs shows what it does."),
        )
    models = models or status.engine_models(port, key)
    chat = next((model for model in models if model.get("id") == DEFAULT_MODEL), None)
    if chat is None or chat["meta"]["status"] == "ready":
        return
    report(
        tr(
            "loading {model} ({file})",
            model=DEFAULT_MODEL,
            file=chat["meta"]["file"],
        )
    )
    timeout_s = settings.load_timeout + MODEL_SLACK_S
    body = {"model": DEFAULT_MODEL}
    answer = probe.ask(port, "/models/load", key=key, body=body, timeout_s=timeout_s)
    if answer is None:
        raise LoadFailed(
            tr(
                "{model} is not loaded after {seconds:.0f} s",
                model=DEFAULT_MODEL,
                seconds=timeout_s,
            ),
            hint=tr("A slow disk? Set LOAD_TIMEOUT higher in .env. make logs shows more."),
        )
    if answer[0] != http.client.OK:
        error = _error_of(answer[1])
        raise LoadFailed(
            tr(
                "{model} ({file}) did not load: {message}",
                model=DEFAULT_MODEL,
                file=chat["meta"]["file"],
                message=error.get("message"),
            ),
            hint=tr("Check the file with `make preflight`, or set another CHAT_MODEL in .env."),
        )


def _asked_here(settings: Settings) -> bool:
    """Whether 127.0.0.1 is among the published addresses."""
    return settings.on_loopback or settings.bind_address in ANY_ADDRESS


def _is_silent(port: int) -> bool:
    return probe.ask(port, "/health", timeout_s=SLOW_ANSWER_S) is None


def _error_of(body: bytes) -> dict[str, Any]:
    try:
        error = orjson.loads(body)["error"]
        return error if isinstance(error, dict) else {"message": str(error)}
    except (ValueError, KeyError, TypeError):
        return {"message": body[:200].decode(errors="replace")}


def down(paths: Paths, report: Callable[[str], None]) -> int:
    """Stop whatever runs of this project, in either runtime; returns how many things were stopped.

    Also what an earlier RUNTIME started: processes and containers are both looked for.
    """
    paths.ensure_state()
    with exclusive(paths.lock_file):
        return _stop(paths, report)


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
