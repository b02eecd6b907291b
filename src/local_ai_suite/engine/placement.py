"""How a model is loaded on this machine, and the bytes it will hold: the fit planner, asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from local_ai_suite.errors import FitError
from local_ai_suite.fit import (
    FitPlan,
    FitRequest,
    Record,
    correction,
    gpu_margin,
    memory_margin,
)
from local_ai_suite.fit import plan as fit_plan
from local_ai_suite.gguf import read_gguf
from local_ai_suite.messages import tr

from .ledger import minus
from .readback import Expected

if TYPE_CHECKING:
    from local_ai_suite.catalog.catalog import ModelEntry
    from local_ai_suite.hardware import Hardware
    from local_ai_suite.settings import Settings

    from .ledger import Bytes

# A context that is good to work with (fit's CONTEXT_GOOD): with at least this much a model is
# placed beside the others rather than in their place.
SIDE_BY_SIDE_CONTEXT = 16_384


@dataclass(frozen=True, slots=True)
class Placement:
    """A fit plan and the bytes per device that the ledger holds for it.

    ``alongside`` names the models that it was planned to live beside. ``was_refused``: no GPU is
    used, and an earlier load of this file was refused room on one.
    """

    fit: FitPlan
    need: Mapping[str, int]
    alongside: tuple[str, ...] = ()
    was_refused: bool = False

    @property
    def context_per_slot(self) -> int:
        return self.fit.ctx_size

    def expected(self) -> Expected:
        """What the engine's log should show; the runtime's overhead is in no log."""
        return Expected(
            n_gpu_layers=self.fit.n_gpu_layers,
            context_per_slot=self.fit.ctx_size,
            parallel=self.fit.parallel,
            bytes_by_device={
                item.name: item.parts.total - item.parts.overhead for item in self.fit.devices
            },
        )


# A model, the bytes that models may hold in all, and what others hold now: all, and pinned ones.
Placer = Callable[["ModelEntry", "Bytes", Mapping[str, "Bytes"], Mapping[str, "Bytes"]], Placement]


@dataclass(slots=True)
class FitPlanner:
    """Plans with what the settings and the model's own section have decided."""

    settings: Settings
    machine: Hardware
    engine_has_gpu: bool
    lessons: Record = field(default_factory=Record)
    memory_speed: float | None = None

    def __call__(
        self,
        entry: ModelEntry,
        capacity: Bytes,
        held: Mapping[str, Bytes],
        pinned: Mapping[str, Bytes],
    ) -> Placement:
        """The plan beside all others if it is nearly as good as the one in their place.

        Raises FitError for a model that does not fit even then. What was set explicitly is tried
        all the same, unless the weights alone are more than there is: a file that is mapped would
        be read from the disk again for every token.
        """
        room = _left(capacity, pinned)
        alone = fit_plan(self._request(entry, room))
        weights = sum(device.parts.weights for device in alone.devices)
        tried = self._is_explicit(entry) and weights <= sum(room.values())
        if not alone.fits and not tried:
            raise FitError(
                tr(
                    "{name} does not fit: {warnings}",
                    name=entry.name,
                    warnings="; ".join(alone.warnings),
                ),
                hint=tr("Choose a smaller model or quantization; `lais plan-fit` shows what fits."),
                model=entry.name,
            )
        if held.keys() - pinned.keys():
            beside = fit_plan(self._request(entry, _left(capacity, held)))
            enough = min(alone.ctx_size, SIDE_BY_SIDE_CONTEXT)
            same = (beside.n_gpu_layers, beside.n_cpu_moe) == (alone.n_gpu_layers, alone.n_cpu_moe)
            if beside.fits and same and beside.ctx_size >= enough:
                refused = self._was_refused(entry, beside)
                return Placement(beside, need_of(beside), tuple(held), refused)
        need = need_of(alone)
        if not alone.fits:
            # The ledger then gives it all there is.
            need = {name: min(size, max(0, room.get(name, 0))) for name, size in need.items()}
        return Placement(alone, need, tuple(pinned), self._was_refused(entry, alone))

    def _was_refused(self, entry: ModelEntry, fit: FitPlan) -> bool:
        asked = _first(entry.overrides.n_gpu_layers, self.settings.n_gpu_layers)
        visible = self.machine.visible(self.settings.cuda_visible_devices)
        if fit.uses_gpu or asked == 0 or not (self.engine_has_gpu and visible):
            return False
        mine = (item for item in self.lessons.lessons if item.model == entry.path.name)
        return any(item.seen == "short" for item in mine)

    def _request(self, entry: ModelEntry, free: Bytes) -> FitRequest:
        settings, own = self.settings, entry.overrides
        gpus = tuple(
            replace(gpu, free_bytes=max(0, free.get(f"CUDA{number}", 0)))
            for number, gpu in enumerate(self.machine.visible(settings.cuda_visible_devices))
        )
        machine = replace(
            self.machine, gpus=gpus, memory_available_bytes=max(0, free.get("CPU", 0))
        )
        return FitRequest(
            model=entry.file,
            hardware=machine,
            purpose="embed" if entry.embeds else "code" if entry.kind == "code" else "chat",
            projector=read_gguf(entry.mmproj) if entry.mmproj is not None else None,
            n_gpu_layers=_first(own.n_gpu_layers, settings.n_gpu_layers),
            ctx_size=_first(own.ctx_size, settings.ctx_size),
            parallel=_first(own.parallel, settings.parallel),
            cache_type_k=_cache_type(own.cache_type_k, settings.cache_type_k),
            cache_type_v=_cache_type(own.cache_type_v, settings.cache_type_v),
            threads=settings.threads,
            engine_has_gpu=self.engine_has_gpu,
            margin_gpu=0,
            margin_memory=0,
            learned=correction(self.lessons, entry.path.name),
            memory_speed=self.memory_speed,
        )

    def _is_explicit(self, entry: ModelEntry) -> bool:
        own, all_models = entry.overrides, self.settings
        values = (own.n_gpu_layers, own.ctx_size, all_models.n_gpu_layers, all_models.ctx_size)
        return any(value is not None for value in values)


def capacity(machine: Hardware, settings: Settings, *, engine_has_gpu: bool) -> dict[str, int]:
    """The bytes that models may hold in all, per device: what is free now, less the margins.

    The margins are taken off once for all models together instead of once per model.
    """
    available = machine.memory_available_bytes or 0
    found = {"CPU": max(0, available - memory_margin(machine.memory_total_bytes))}
    visible = machine.visible(settings.cuda_visible_devices) if engine_has_gpu else ()
    for number, gpu in enumerate(visible):
        free = (gpu.free_bytes or 0) - gpu_margin(gpu.total_bytes)
        found[f"CUDA{number}"] = max(0, free)
    return found


def need_of(plan: FitPlan) -> dict[str, int]:
    """Bytes per device, of devices that the plan uses."""
    return {item.name: item.parts.total for item in plan.devices if item.parts.total}


def _left(capacity: Bytes, held: Mapping[str, Bytes]) -> dict[str, int]:
    left = dict(capacity)
    for need in held.values():
        left = minus(left, need)
    return left


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def _cache_type(own: str | None, of_all: str) -> str | None:
    value = own or of_all
    return None if value == "auto" else value
