"""Up and down, whatever the runtime is: what `make up-p1` and `make down` do.

``report`` is called with one line for each thing that happens; printing it is the door's work.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from local_ai_suite.errors import LoadFailed, StackError
from local_ai_suite.stack import native, status
from local_ai_suite.stack.supervisor import tail
from local_ai_suite.state import exclusive, marked_processes, read_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from local_ai_suite.paths import Paths
    from local_ai_suite.settings import Settings
    from local_ai_suite.state import RunState

POLL_S = 0.1
LOG_LINES = 12
# The engine's own load timeout is a setting; this is what the stack adds before it gives up.
MODEL_SLACK_S = 30.0


@dataclass(frozen=True, slots=True)
class UpOutcome:
    """``already`` says that nothing had to be done; ``notes`` are worth a warning."""

    stack: status.StackReport
    already: bool
    seconds: float
    notes: tuple[str, ...]


def address(settings: Settings) -> str:
    """What a client is given as its base URL."""
    return f"http://localhost:{settings.api_gateway_port}/v1"


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
    nothing is left running then.
    """
    began = time.monotonic()
    notes: list[str] = []
    digest = settings_digest(settings)
    paths.ensure_state()
    with exclusive(paths.lock_file):
        run = native.running(paths)
        already = run is not None and all(service.phase == "ready" for service in run.services)
        if run is not None and run.settings_digest != digest:
            notes.append("the settings have changed since it was started: make restart")
        if run is not None and any(service.phase == "failed" for service in run.services):
            report("a service had failed for good; starting everything again")
            native.stop(paths, report)
            run = None
        if run is None:
            if marked_processes(paths.project) or paths.run_file.exists():
                ended = native.sweep(paths)
                notes.append(f"the last run had crashed; {ended} leftover processes were ended")
            report("starting the services")
            native.start(phase, settings, paths, digest=digest)
    try:
        ready = _wait_for_services(paths, report)
        key = settings.litellm_master_key
        _wait_for_models(ready, settings, report, key)
        stack = status.report(ready, address=address(settings), key=key)
    except BaseException:
        if not already:
            native.stop_exclusively(paths, report)
        raise
    return UpOutcome(stack, already, time.monotonic() - began, tuple(notes))


def _wait_for_services(paths: Paths, report: Callable[[str], None]) -> RunState:
    """Until each service is ready; the supervisor bounds each one's start."""
    told = ""
    while True:
        run = native.running(paths)
        if run is None:
            log = paths.logs / "supervisor.log"
            raise StackError(
                "the supervisor ended: " + " | ".join(tail(log, 3)), hint=f"Its log: {log}"
            )
        for service in run.services:
            if service.phase == "failed":
                raise StackError(
                    f"{service.name} did not start: {service.reason}",
                    hint=f"Its log: {paths.logs / service.name}.log",
                    service=service.name,
                    log=tail(paths.logs / f"{service.name}.log", LOG_LINES),
                )
        waiting = [service.name for service in run.services if service.phase != "ready"]
        if run.services and not waiting:
            return run
        if (line := "waiting for " + " and ".join(waiting)) != told and waiting:
            report(line)
            told = line
        time.sleep(POLL_S)


def _wait_for_models(
    run: RunState, settings: Settings, report: Callable[[str], None], key: str | None
) -> None:
    """Until no model is loading; a model that the engine was told to load must be there."""
    port = next(service.port for service in run.services if service.name == "inference")
    deadline = time.monotonic() + settings.load_timeout + MODEL_SLACK_S
    told = ""
    while True:
        models = status.engine_models(port, key)
        for model in models:
            if _status(model) == "failed":
                meta = model["meta"]
                raise LoadFailed(
                    f"{model['id']} did not load: {meta.get('reason') or 'see the engine log'}",
                    hint="Check the file with: make preflight",
                    model=model["id"],
                )
        loading = [model for model in models if _status(model) == "loading"]
        if not loading:
            return
        if time.monotonic() > deadline:
            raise LoadFailed(
                f"{loading[0]['id']} is still loading after {settings.load_timeout:.0f} s",
                hint="A slow disk? Set LOAD_TIMEOUT higher in .env.",
            )
        line = "loading " + ", ".join(str(model["id"]) for model in loading)
        if line != told:
            report(line)
            told = line
        time.sleep(POLL_S)


def _status(model: dict[str, Any]) -> str:
    return str((model.get("meta") or {}).get("status"))


def down(paths: Paths, report: Callable[[str], None]) -> int:
    """Stop whatever runs of this project, in either runtime; returns how many processes."""
    return native.stop_exclusively(paths, report)


def current(paths: Paths, settings: Settings) -> status.StackReport:
    """What runs now, also after the supervisor was killed."""
    run = native.running(paths) or read_run(paths.run_file)
    return status.report(run, address=address(settings), key=settings.litellm_master_key)
