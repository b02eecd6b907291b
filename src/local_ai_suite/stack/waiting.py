"""What `up` waits for: services that answer, and the first model. Each wait has a bound.

What is waited for is one run, and stays that one: when another command stops it, or starts another
in its place, that is what a person is told.
"""

from __future__ import annotations

import http.client
import time
from typing import TYPE_CHECKING, Any

import orjson

from local_ai_suite.errors import LoadFailed, StackError
from local_ai_suite.messages import joined, tr
from local_ai_suite.process.output import file_tail
from local_ai_suite.stack import containers, native, probe, status
from local_ai_suite.stack.phases import INFERENCE, service_named

from .state import read_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from local_ai_suite.errors import SuiteError
    from local_ai_suite.paths import Paths
    from local_ai_suite.settings import Settings

    from .state import RunState

POLL_S = 0.1
ANY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 (compared with, not bound)
DEFAULT_MODEL = "local-chat"
LOG_LINES = 12
# Longer than any service's own bound (phases.py): this one only ends what they forgot.
SERVICES_TIMEOUT_S = 240.0
# A service in one of these won't come back by itself.
ENDED = frozenset({"failed", "exited", "dead", "unhealthy"})
# A service whose state says "ready" is asked all the same: it may hang since a moment ago.
ANSWER_S = 3.0
# The engine's own load timeout is a setting; this is what the stack adds before it gives up.
MODEL_SLACK_S = 30.0
# A machine on its knees answers late; a service that hangs never does.
SLOW_ANSWER_S = 30.0
# How long it takes until everybody knows of a death: the supervisor at once, Docker in seconds.
NEWS_S = 5.0


def refreshed(paths: Paths) -> RunState | None:
    """The run that goes on, with its services as they are now; ``None`` when nothing runs."""
    run = read_run(paths.run_file)
    if run is not None and run.runtime == "docker":
        run = containers.services(paths, run)
        gone = all(service.phase in {"stopped", "unreachable"} for service in run.services)
        return None if gone else run
    return native.running(paths)


def is_ready(run: RunState | None) -> bool:
    """Whether each service says that it is ready, and natively answers, too."""
    if run is None or not run.services:
        return False
    if any(service.phase != "ready" for service in run.services):
        return False
    # Docker asks by itself, and publishes on the addresses that were asked for only.
    return run.runtime == "docker" or all(
        _answers(service.port, service_named(service.name).ready_path, ANSWER_S)
        for service in run.services
    )


def wait_for_services(
    begun: RunState | None, paths: Paths, report: Callable[[str], None]
) -> RunState:
    """Until each service of the run ``begun`` is ready; as it is then.

    The supervisor (or Docker's health check) bounds each start. Raises :class:`StackError`.
    """
    told = ""
    deadline = time.monotonic() + SERVICES_TIMEOUT_S
    while True:
        run = _still(begun, paths)
        for service in run.services:
            if service.phase in ENDED:
                raise StackError(
                    tr(
                        "{name} did not start: {reason}",
                        name=service.name,
                        reason=service.reason or status.state_text(service.phase),
                    ),
                    hint=tr(
                        "The end of its log:\n    {log_tail}",
                        log_tail="\n    ".join(_log_tail(paths, run, service.name)),
                    ),
                    service=service.name,
                )
        if is_ready(run):
            return run
        waiting = [service for service in run.services if service.phase != "ready"]
        names = joined(tr(" and "), (service.name for service in waiting or run.services))
        if time.monotonic() > deadline:
            raise StackError(
                tr(
                    "{waiting} did not become ready in {seconds:.0f} s",
                    waiting=names,
                    seconds=SERVICES_TIMEOUT_S,
                ),
                hint="; ".join(f"{s.name}: {s.reason}" for s in waiting if s.reason)
                or tr("make logs shows what they do."),
            )
        why = "; ".join(service.reason for service in waiting if service.reason)
        line = tr("waiting for {names}", names=names + f" ({why})" if why else names)
        if line != told:
            report(line)
            told = line
        time.sleep(POLL_S)


def _still(begun: RunState | None, paths: Paths) -> RunState:
    """The run ``begun`` as it is now. Raises :class:`StackError` when it goes on no more."""
    run = refreshed(paths)
    if run is not None and run.is_same(begun):
        return run
    log = paths.logs / "supervisor.log"
    left = read_run(paths.run_file)
    if left is None or not left.is_same(begun):
        raise StackError(
            tr("another command stopped what was starting here"),
            hint=tr("Was it `make down` or `make restart`? `make status` tells what runs now."),
        )
    raise StackError(
        tr("the services ended: {tail}", tail=" | ".join(file_tail(log, 3))),
        hint=tr("Their log: {log}", log=log),
    )


def _log_tail(paths: Paths, run: RunState, service: str) -> list[str]:
    if run.runtime == "docker":
        return containers.logs(paths, service, LOG_LINES)
    return file_tail(paths.logs / f"{service}.log", LOG_LINES)


def load_default(
    run: RunState, settings: Settings, paths: Paths, report: Callable[[str], None]
) -> None:
    """Load ``local-chat``, so that the first question is not the one that waits.

    Raises :class:`LoadFailed` with the engine's reason, :class:`StackError` when the engine
    service says nothing. A stack of embedding models only has no ``local-chat``.
    """
    key = settings.litellm_master_key
    port = next(service.port for service in run.services if service.name == INFERENCE.name)
    models = status.engine_models(port, key)
    alive = INFERENCE.alive_path
    if not models and _asked_here(settings) and not _answers(port, alive, SLOW_ANSWER_S):
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
    file = chat["meta"]["file"]
    report(tr("loading {model} ({file})", model=DEFAULT_MODEL, file=file))
    timeout_s = settings.load_timeout + MODEL_SLACK_S
    body = {"model": DEFAULT_MODEL}
    began = time.monotonic()
    answer = probe.ask(port, "/models/load", key=key, body=body, timeout_s=timeout_s)
    if answer is None and time.monotonic() - began < timeout_s:
        raise _lost(run, paths)
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
                file=file,
                message=error.get("message"),
            ),
            hint=tr("Check the file with `make preflight`, or set another CHAT_MODEL in .env."),
        )


def _lost(begun: RunState, paths: Paths) -> SuiteError:
    """Why the engine service went away while it loaded a model."""
    deadline = time.monotonic() + NEWS_S
    reason = ""
    while not reason and time.monotonic() < deadline:
        try:
            run = _still(begun, paths)
        except StackError as exc:
            return exc
        engine = next(service for service in run.services if service.name == INFERENCE.name)
        reason = engine.reason
        time.sleep(POLL_S)
    return LoadFailed(
        tr(
            "the engine service went away while it loaded {model}: {reason}",
            model=DEFAULT_MODEL,
            reason=reason or "it closed the connection",
        ),
        hint=tr(
            "The end of its log:\n    {log_tail}",
            log_tail="\n    ".join(_log_tail(paths, begun, INFERENCE.name)),
        ),
    )


def _asked_here(settings: Settings) -> bool:
    """Whether 127.0.0.1 is among the published addresses."""
    return settings.on_loopback or settings.bind_address in ANY_ADDRESS


def _answers(port: int, path: str, seconds: float) -> bool:
    answer = probe.ask(port, path, timeout_s=seconds)
    return answer is not None and answer[0] == http.client.OK


def _error_of(body: bytes) -> dict[str, Any]:
    try:
        error = orjson.loads(body)["error"]
        return error if isinstance(error, dict) else {"message": str(error)}
    except (ValueError, KeyError, TypeError):
        return {"message": body[:200].decode(errors="replace")}
