"""What the pool knows about one model, and the errors of asking for it."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from local_ai_suite.errors import EngineError
from local_ai_suite.process.restarts import ENGINE, LOAD, Backoff

from .ledger import Phase
from .pace import Pace

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from local_ai_suite.catalog.catalog import ModelEntry
    from local_ai_suite.errors import SuiteError

    from .llama_server import EngineProcess
    from .pace import Speed
    from .placement import Placement
    from .readback import Actual, Deviation
    from .slots import Kept


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
    future: asyncio.Future[EngineProcess]


_numbers = itertools.count(1)


@dataclass(eq=False)
class Model:
    """A model's record. Only the pool writes it.

    ``key`` stays what it is when the catalog gives the model other names. ``dropped``: the catalog
    knows it no more; it is forgotten when its engine is gone.
    """

    entry: ModelEntry
    key: str = field(default_factory=lambda: f"model-{next(_numbers)}")
    phase: Phase = Phase.UNLOADED
    placement: Placement | None = None
    placed_for: object = None  # what held which bytes when the placement was made
    actual: Actual | None = None
    engine: EngineProcess | None = None
    task: asyncio.Task[None] | None = None
    parking: asyncio.Task[None] | None = None
    in_flight: int = 0
    served: int = 0
    last_used: float = 0.0
    loaded_at: float | None = None
    load_seconds: float | None = None
    waiters: deque[Waiter] = field(default_factory=deque)
    closed: bool = False
    leaving: bool = False
    dropped: bool = False
    identity: tuple[int, ...] | None = None  # of the file, when it was loaded
    refused: tuple[Placement, ...] = ()  # that a card had no room for, since it was last ready
    failures: Backoff = LOAD
    failure: SuiteError | None = None
    retry_at: float = 0.0
    deaths: Backoff = ENGINE
    last_death: str | None = None
    restart_at: float | None = None
    deviations: tuple[Deviation, ...] = ()
    pace: Pace = field(default_factory=Pace)
    speed: Speed | None = None  # as of the last look at this process, or at the one before
    slowness: Deviation | None = None
    served_at_look: int = 0
    kept: Kept | None = None  # what became of its conversations when it was stopped

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def was_replaced(self) -> bool:
        """Another file lies where the loaded one was. A removed one goes on being served."""
        if self.identity is None:
            return False
        now = file_identity(self.entry.path)
        return now is not None and now != self.identity


def file_identity(path: Path) -> tuple[int, ...] | None:
    """What changes when a file is replaced or written to; ``None`` if it is not there."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns)


def facts(model: Model, now: float) -> dict[str, Any]:
    """One row of ``GET /running``."""
    kept = model.engine.kept if model.engine is not None else model.kept
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
        "tokens_per_second": round(model.speed.measured, 2) if model.speed else None,
        "projected_bytes": dict(model.placement.need) if model.placement else None,
        "failure": model.failure.message if model.failure else None,
        "deaths": len(model.deaths),
        "last_death": model.last_death,
        "deviations": [item.message for item in model.deviations],
        "warnings": list(model.entry.warnings),
        "cpu_features": list(model.actual.cpu_features) if model.actual else None,
        "conversations": asdict(kept) if kept is not None else None,
        "plan": _plan_facts(model.placement) if model.placement is not None else None,
    }


def _plan_facts(placement: Placement) -> dict[str, Any]:
    fit = placement.fit
    return {
        "n_gpu_layers": fit.n_gpu_layers,
        "ctx_size": fit.ctx_size,
        "parallel": fit.parallel,
        "cache_type_k": fit.cache_type_k,
        "cache_type_v": fit.cache_type_v,
        "tokens_per_second": fit.tokens_per_second,
        "alongside": list(placement.alongside),
        "reasons": list(fit.reasons),
        "warnings": list(fit.warnings),
    }


def status(model: Model) -> str:
    """``unloaded``, ``loading``, ``ready``, ``stopping``, or ``failed``."""
    if model.phase is Phase.UNLOADED and model.failure is not None:
        return "failed"
    return model.phase.value
