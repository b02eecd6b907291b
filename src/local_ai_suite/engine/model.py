"""What the pool knows about one model, and the errors of asking for it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from local_ai_suite.errors import EngineError

from .ledger import Phase

if TYPE_CHECKING:
    import asyncio

    from local_ai_suite.errors import SuiteError

    from .catalog import ModelEntry
    from .planning import Plan
    from .readback import Actual, Deviation
    from .running import Running


class ModelUnknown(EngineError):
    code = "model_not_found"
    http_status = 404


class ModelUnavailable(EngineError):
    """The model did not load, or its engine died; says when the next try is due."""

    code = "model_unavailable"
    http_status = 503


@dataclass(eq=False)
class Waiter:
    since: float
    future: asyncio.Future[Running]


@dataclass(eq=False)
class Model:
    """A model's record. Only the pool writes it."""

    entry: ModelEntry
    phase: Phase = Phase.UNLOADED
    plan: Plan | None = None
    planned: bool = False  # for those who wait now; the next load is planned anew
    actual: Actual | None = None
    engine: Running | None = None
    task: asyncio.Task[None] | None = None
    in_flight: int = 0
    served: int = 0
    last_used: float = 0.0
    loaded_at: float | None = None
    load_seconds: float | None = None
    waiters: deque[Waiter] = field(default_factory=deque)
    closed: bool = False
    leaving: bool = False
    failures: int = 0
    failure: SuiteError | None = None
    retry_at: float = 0.0
    deaths: deque[float] = field(default_factory=deque)
    last_death: str | None = None
    restart_at: float | None = None
    deviations: tuple[Deviation, ...] = ()

    @property
    def name(self) -> str:
        return self.entry.name


def facts(model: Model, now: float) -> dict[str, Any]:
    """One row of ``GET /running``."""
    return {
        "model": model.name,
        "names": list(model.entry.names),
        "status": status(model),
        "pid": model.engine.pid if model.engine is not None else None,
        "in_flight": model.in_flight,
        "waiting": len(model.waiters),
        "served": model.served,
        "idle_seconds": round(now - model.last_used, 1) if model.loaded_at else None,
        "loaded_seconds": round(now - model.loaded_at, 1) if model.loaded_at else None,
        "load_seconds": round(model.load_seconds, 3) if model.load_seconds else None,
        "pinned": model.entry.overrides.pinned,
        "projected_bytes": dict(model.plan.need) if model.plan else None,
        "failure": model.failure.message if model.failure else None,
        "deaths": len(model.deaths),
        "last_death": model.last_death,
        "deviations": [item.message for item in model.deviations],
    }


def status(model: Model) -> str:
    """``unloaded``, ``loading``, ``ready``, ``stopping``, or ``failed``."""
    if model.phase is Phase.UNLOADED and model.failure is not None:
        return "failed"
    return model.phase.value
