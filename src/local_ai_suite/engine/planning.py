"""How a model is loaded on this machine, and the bytes it will hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .command import LoadShape
from .readback import Expected

if TYPE_CHECKING:
    from local_ai_suite.settings import Settings

    from .catalog import ModelEntry


@dataclass(frozen=True, slots=True)
class Plan:
    """The shape to load a model in, the bytes it takes per device, and why, in words."""

    shape: LoadShape
    need: Mapping[str, int]
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def context_per_slot(self) -> int:
        return self.shape.ctx_size // self.shape.parallel

    def expected(self) -> Expected:
        return Expected(
            n_gpu_layers=self.shape.n_gpu_layers,
            context_per_slot=self.context_per_slot,
            parallel=self.shape.parallel,
            bytes_by_device=dict(self.need),
        )


# A model, and the bytes that are free for it per device.
Planner = Callable[["ModelEntry", Mapping[str, int]], Plan]


def plain_planner(settings: Settings) -> Planner:
    """CPU only, and the context of the settings; until the fit planner decides."""

    def plan(entry: ModelEntry, _: Mapping[str, int]) -> Plan:
        trained = entry.file.context_length or 4096
        ctx = entry.overrides.ctx_size or settings.ctx_size or min(trained, 4096)
        slots = entry.overrides.parallel or settings.parallel or 1
        shape = LoadShape(n_gpu_layers=0, ctx_size=ctx * slots, parallel=slots)
        return Plan(shape, {"CPU": entry.file.size_bytes + 256 * 2**20})

    return plan
