"""What is asked of the planner, and what it answers. Bytes everywhere; text elsewhere."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pathlib import Path

    from local_ai_suite.gguf import GgufFile
    from local_ai_suite.hardware import Hardware

MIB = 1 << 20
GIB = 1 << 30

Purpose = Literal["chat", "code", "embed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRequest:
    """A model, a machine, and what a person has decided; ``None`` leaves it to the plan.

    ``ctx_size`` is tokens per slot. ``taken_gpu`` and ``taken_memory`` are bytes that other models
    will take and that the snapshot does not show yet. ``margin_gpu`` and ``margin_memory`` replace
    the margins; ``learned`` adds what this machine was seen to need more than projected
    (:mod:`local_ai_suite.fit.compare`). Speeds are bytes per second.
    """

    model: GgufFile
    hardware: Hardware
    purpose: Purpose = "chat"
    projector: GgufFile | None = None
    n_gpu_layers: int | None = None
    n_cpu_moe: int | None = None
    ctx_size: int | None = None
    parallel: int | None = None
    cache_type_k: str | None = None
    cache_type_v: str | None = None
    flash_attention: bool | None = None
    threads: int | None = None
    cuda_visible_devices: str | None = None
    engine_has_gpu: bool = True
    taken_gpu: tuple[int, ...] = ()
    taken_memory: int = 0
    margin_gpu: int | None = None
    margin_memory: int | None = None
    learned: int = 0
    disk_speed: float | None = None
    memory_speed: float | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """Projected bytes on one device.

    ``overhead`` is what the runtime itself takes: the CUDA context, the process.
    """

    weights: int = 0
    kv_cache: int = 0
    compute: int = 0
    projector: int = 0
    overhead: int = 0

    @property
    def total(self) -> int:
        return self.weights + self.kv_cache + self.compute + self.projector + self.overhead


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """One device: what lies there, what is free there, and the margin that is kept.

    ``name`` as llama.cpp says it (``CUDA0``, ``CPU``). ``free_bytes`` is ``None`` when unknown;
    then it is never said that something fits.
    """

    name: str
    kind: Literal["gpu", "cpu"]
    description: str
    parts: Parts
    free_bytes: int | None
    total_bytes: int | None
    margin_bytes: int

    @property
    def headroom(self) -> int | None:
        """Bytes left after the plan and its margin; negative when it does not fit."""
        if self.free_bytes is None:
            return None
        return self.free_bytes - self.parts.total - self.margin_bytes

    @property
    def fits(self) -> bool:
        return self.headroom is not None and self.headroom >= 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FitPlan:
    """How to start the engine, what that takes where, and why.

    ``ctx_size`` is tokens per slot (what is published); the engine's ``--ctx-size`` is ``n_ctx``.
    ``n_gpu_layers`` counts blocks and the output; ``gpu_layers_max`` is all of them. The experts
    of the first ``n_cpu_moe`` layers stay on the CPU. ``flash_attention`` is the engine's
    ``--flash-attn``. ``cache_ram_bytes`` bounds the prompts that the engine keeps in memory
    (``--cache-ram``).
    Tokens per second and seconds are ``None`` where no speed is known. ``fits`` is false when
    explicit settings, or the model itself, need more than there is; ``warnings`` say where, and
    what else a person should know.
    """

    model: str
    purpose: Purpose
    path: Path
    architecture: str
    n_gpu_layers: int
    gpu_layers_max: int
    n_cpu_moe: int
    ctx_size: int
    n_ctx: int
    trained_context: int | None
    parallel: int
    kv_unified: bool
    cache_type_k: str
    cache_type_v: str
    flash_attention: Literal["auto", "on", "off"]
    batch_size: int
    ubatch_size: int
    threads: int | None
    mmap: bool
    embedding: bool
    cache_ram_bytes: int
    devices: tuple[DevicePlan, ...]
    fits: bool
    reasons: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    tokens_per_second: float | None = None
    load_seconds: float | None = None

    @property
    def uses_gpu(self) -> bool:
        """At least one layer is planned for a GPU."""
        return self.n_gpu_layers > 0

    @property
    def gpu_bytes(self) -> int:
        return sum(d.parts.total for d in self.devices if d.kind == "gpu")

    @property
    def memory_bytes(self) -> int:
        return sum(d.parts.total for d in self.devices if d.kind == "cpu")

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, with the totals that the properties compute."""
        data = asdict(self)
        data["path"] = str(self.path)
        for device, plain in zip(self.devices, data["devices"], strict=True):
            plain["parts"]["total"] = device.parts.total
            plain["headroom"] = device.headroom
            plain["fits"] = device.fits
        return data
