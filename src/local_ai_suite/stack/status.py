"""What runs: the run file, checked against the processes, the ports and the services' answers."""

from __future__ import annotations

import http.client
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from local_ai_suite.messages import say, tr, translated
from local_ai_suite.messages.width import ljust, width
from local_ai_suite.stack import probe
from local_ai_suite.stack.phases import INFERENCE, service_named

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .state import RunState, ServiceState

MIB = 1024 * 1024
# A service that is up answers this from memory; `status` must not hang with one that is stuck.
READY_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """A service as it is now; ``memory`` is the resident bytes of its process tree."""

    name: str
    phase: str
    port: int
    pid: int | None
    seconds: float
    memory: int | None
    restarts: int
    reason: str

    @property
    def healthy(self) -> bool:
        """Whether it serves."""
        return self.phase == "ready"


@dataclass(frozen=True, slots=True)
class StackReport:
    """The whole stack; ``models`` are the entries of the engine's ``/v1/models``.

    ``warnings`` are what the engine service says of itself: a GPU that will not be used, a file
    that is left out and why.
    """

    runtime: str | None
    phase: str | None
    address: str
    seconds: float
    services: tuple[ServiceReport, ...]
    models: tuple[dict[str, Any], ...]
    watched: bool = True  # whether somebody starts a dead service again
    warnings: tuple[str, ...] = ()

    @property
    def running(self) -> bool:
        """Whether anything was started here."""
        return self.runtime is not None

    @property
    def healthy(self) -> bool:
        """Whether each service serves, and would come back if it died."""
        return self.running and self.watched and all(service.healthy for service in self.services)


def report(
    run: RunState | None, *, address: str, key: str | None, watched: bool = True
) -> StackReport:
    """Ask everything once; bounded by the probes' timeouts."""
    if run is None:
        return StackReport(None, None, address, 0.0, (), ())
    now = time.time()
    services = tuple(_service(state, now, run.runtime) for state in run.services)
    engine = next((s for s in run.services if s.name == INFERENCE.name), None)
    models: tuple[dict[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()
    if engine is not None and engine.phase == "ready":
        models, warnings = engine_models(engine.port, key), engine_warnings(engine.port, key)
    return StackReport(
        run.runtime, run.stack_phase, address, now - run.started, services, models, watched,
        warnings,
    )  # fmt: skip


def engine_models(port: int, key: str | None) -> tuple[dict[str, Any], ...]:
    """The engine's models with their ``meta``; empty when it does not answer."""
    answer = probe.get_json(port, "/v1/models", key=key)
    return tuple(answer["data"]) if isinstance(answer, dict) and "data" in answer else ()


def engine_warnings(port: int, key: str | None) -> tuple[str, ...]:
    """What ``/running`` warns of, and the files that are left out; empty when nobody answers."""
    answer = probe.get_json(port, "/running", key=key)
    if not isinstance(answer, dict):
        return ()
    left_out = (tr("left out: {problem}", problem=text) for text in answer.get("problems", ()))
    return (*answer.get("warnings", ()), *left_out)


def _service(state: ServiceState, now: float, runtime: str) -> ServiceReport:
    process = state.process.process() if state.process else None
    phase, reason = state.phase, state.reason
    if runtime == "native" and phase in {"ready", "starting", "stuck"} and process is None:
        phase = "dead"  # its supervisor has not seen it yet, or is gone itself
    elif phase in {"ready", "stuck"}:
        path = service_named(state.name).alive_path
        answer = probe.ask(state.port, path, timeout_s=READY_TIMEOUT_S)
        answered = answer is not None and answer[0] == http.client.OK
        phase = "ready" if answered else "stuck"
        reason = reason if answered else tr("it does not answer")
    return ServiceReport(
        name=state.name,
        phase=phase,
        port=state.port,
        pid=process.pid if process else None,
        seconds=max(0.0, now - state.since),
        memory=_tree_memory(process) if process else state.memory,
        restarts=state.restarts,
        reason=reason,
    )


def _tree_memory(process: psutil.Process) -> int | None:
    try:
        tree = [process, *process.children(recursive=True)]
        return sum(member.memory_info().rss for member in tree)
    except psutil.Error:
        return None


_SERVICE_COLUMNS = (
    tr("service"), tr("state"), tr("port"), tr("pid"), tr("for"), tr("memory"), tr("restarts"),
)  # fmt: skip
# What a person reads for a service's phase and a model's state; programs read the English word.
_STATES = {
    str(state): state
    for state in (
        tr("starting"),
        tr("ready"),
        tr("stuck"),
        tr("restarting"),
        tr("stopping"),
        tr("stopped"),
        tr("failed"),
        tr("exited"),
        tr("dead"),
        tr("unhealthy"),
        tr("unreachable"),
        tr("loading"),
        tr("unloaded"),
    )
}


def state_text(state: str) -> str:
    """A service's phase or a model's state for a person."""
    return _STATES.get(state, state)


def as_text(stack: StackReport) -> str:
    """For a person, one line a service and one a model."""
    if not stack.running:
        return say("Nothing runs here. Start it with: make up-p1")
    lines = [
        say(
            "{address}   {phase}, {runtime}, up {duration}",
            address=stack.address,
            phase=stack.phase,
            runtime=stack.runtime,
            duration=duration(stack.seconds),
        ),
        "",
    ]
    rows = [tuple(map(translated, _SERVICE_COLUMNS))]
    rows += [
        (
            service.name,
            translated(state_text(service.phase)),
            str(service.port),
            str(service.pid or "-"),
            duration(service.seconds),
            f"{service.memory // MIB} MiB" if service.memory is not None else "-",
            str(service.restarts),
        )
        for service in stack.services
    ]
    lines += table(rows)
    lines += [f"  {s.name}: {translated(s.reason)}" for s in stack.services if s.reason]
    if not stack.watched:
        lines.append(
            say("  The supervisor is gone: nothing comes back by itself. make restart mends it.")
        )
    lines += [f"  {line}" for line in worth_knowing(stack)]
    if stack.models:
        lines += ["", *table([model_columns(), *model_rows(stack.models)])]
    return "\n".join(lines)


def worth_knowing(stack: StackReport) -> list[str]:
    """What a person must not miss of a stack that runs, a line each: what the engine service warns
    of, models that are not as planned, died, or do not chat.
    """
    lines = [translated(text) for text in stack.warnings]
    for model in once_each(stack.models):
        meta = model.get("meta") or {}
        told = []
        if death := meta.get("last_death"):
            told.append(say("its engine died ({death}) and was started again", death=death))
        told += [say("not as planned: {what}", what=what) for what in meta.get("deviations", ())]
        told += meta.get("warnings", ())
        lines += [f"{model['id']}: {text}" for text in told]
    return lines


def once_each(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of the rows of ``/v1/models`` the first of each model: one model has a row per name, and what
    is to be told of it is told once."""
    models: dict[str, dict[str, Any]] = {}
    for row in rows:
        models.setdefault(str((row.get("meta") or {}).get("name") or row.get("id")), row)
    return list(models.values())


def model_columns() -> tuple[str, ...]:
    """The heads of :func:`model_rows`' columns."""
    return say("model"), say("state"), say("context"), say("tokens/s"), say("file")


def model_rows(models: Iterable[dict[str, Any]]) -> list[tuple[str, str, str, str, str]]:
    """Name, state, context in tokens per slot, speed generated of the one expected, file."""
    rows = []
    for model in models:
        meta = model.get("meta") or {}
        file = str(meta.get("file") or "-").rsplit("/", 1)[-1]
        demo = say(" (demo)") if meta.get("is_demo") else ""
        context = meta.get("n_ctx")
        rows.append(
            (
                str(model.get("id")),
                translated(state_text(str(meta.get("status", "-")))),
                str(context) if context else "-",
                speed_text(meta.get("tokens_per_second") or {}),
                file + demo,
            )
        )
    return rows


def speed_text(speed: Mapping[str, float | None]) -> str:
    """``35.2 of 40``, ``40 expected``, ``35.2``, or ``-``."""
    expected, measured = speed.get("expected"), speed.get("measured")
    if measured is None:
        return say("{expected:.0f} expected", expected=expected) if expected else "-"
    if not expected:
        return f"{measured:.1f}"
    return say("{measured:.1f} of {expected:.0f}", measured=measured, expected=expected)


def table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Left-aligned columns, two spaces apart."""
    widths = [max(width(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(ljust(cell, most) for cell, most in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def duration(seconds: float) -> str:
    """``42 s``, ``3 min``, ``5 h 12 min``."""
    whole = int(seconds)
    if whole < 120:
        return say("{seconds} s", seconds=whole)
    if whole < 7200:
        return say("{minutes} min", minutes=whole // 60)
    return say("{hours} h {minutes} min", hours=whole // 3600, minutes=whole % 3600 // 60)
