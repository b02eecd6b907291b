"""The devices that a plan may use, from a hardware snapshot."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from local_ai_suite.hardware import Gpu, Hardware
from local_ai_suite.messages import tr

from .gpus import find_gpu

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .plan import FitRequest

MIB = 1 << 20
GIB = 1 << 30

# What the CUDA context, cuBLAS and llama.cpp's pools take beside the buffers it logs: 250 to
# 450 MiB on consumer cards ("unaccounted" in llama.cpp's memory breakdown).
GPU_OVERHEAD = 384 * MIB
# Kept free beside everything projected: the desktop's own use moves by that much.
GPU_MARGIN_LEAST, GPU_MARGIN_SHARE = 256 * MIB, 0.04
# The engine process without any model: measured with the embedded engine, rounded up.
CPU_OVERHEAD = 160 * MIB
MEMORY_MARGIN_LEAST, MEMORY_MARGIN_MOST, MEMORY_MARGIN_SHARE = 512 * MIB, 2 * GIB, 0.05
# What Windows and the driver hold of a card that is planned for without being here: an RTX 4050
# Laptop (6 GiB) has 5,072 MiB free in WSL2 (public logs of llama.cpp).
DESKTOP_SHARE = 1072 * MIB
# nvidia-smi in WSL2 does not show what Windows uses, and what is allocated beyond the card spills
# into shared memory instead of failing. Where the engine does not say what is free, this is not.
WSL_HIDDEN = 1 * GIB


@dataclass(frozen=True, slots=True)
class Device:
    """Memory that a plan may use: ``free_bytes`` after what others take, ``None`` if unknown."""

    name: str
    kind: Literal["gpu", "cpu"]
    description: str
    total_bytes: int | None
    free_bytes: int | None
    margin_bytes: int
    overhead_bytes: int
    bandwidth: float | None


def devices(request: FitRequest) -> tuple[tuple[Device, ...], Device]:
    """The GPUs that the engine can use, and the CPU."""
    hardware = request.hardware
    visible = hardware.visible(request.cuda_visible_devices) if request.engine_has_gpu else ()
    gpus = []
    for number, gpu in enumerate(visible):
        taken = request.taken_gpu[number] if number < len(request.taken_gpu) else 0
        card = find_gpu(gpu.name)
        gpus.append(
            Device(
                name=f"CUDA{number}",
                kind="gpu",
                description=gpu.name,
                total_bytes=gpu.total_bytes,
                free_bytes=None if gpu.free_bytes is None else max(0, gpu.free_bytes - taken),
                margin_bytes=_or(request.margin_gpu, gpu_margin(gpu.total_bytes)) + request.learned,
                overhead_bytes=GPU_OVERHEAD,
                bandwidth=card.bandwidth if card else None,
            )
        )
    available = hardware.memory_available_bytes
    cpu = Device(
        name="CPU",
        kind="cpu",
        description=hardware.cpu_name or "system memory",
        total_bytes=hardware.memory_total_bytes,
        free_bytes=None if available is None else max(0, available - request.taken_memory),
        margin_bytes=_or(request.margin_memory, memory_margin(hardware.memory_total_bytes))
        + (0 if gpus else request.learned),
        overhead_bytes=CPU_OVERHEAD,
        bandwidth=request.memory_speed,
    )
    return tuple(gpus), cpu


def free_for_engine(
    hardware: Hardware, seen: Mapping[str, int], cuda_visible_devices: str | None
) -> Hardware:
    """``hardware`` with what is really free on its cards: the smaller of the driver's and the
    engine's word; without the engine's, in WSL2, :data:`WSL_HIDDEN` less.

    ``seen``: free bytes by device, as the engine numbers them among those that are visible.
    Of a ``hardware`` that went through this before, nothing is taken off again.
    """
    names = {
        gpu.index: f"CUDA{number}"
        for number, gpu in enumerate(hardware.visible(cuda_visible_devices))
    }
    gpus = (_free(gpu, seen.get(names.get(gpu.index, "")), hardware) for gpu in hardware.gpus)
    return replace(hardware, gpus=tuple(gpus))


def _free(gpu: Gpu, seen: int | None, hardware: Hardware) -> Gpu:
    told = gpu.free_bytes
    if gpu.free_source != "driver":
        return gpu
    if seen is not None and (told is None or seen < told):
        hidden = 0 if told is None else told - seen
        return replace(gpu, free_bytes=seen, free_source="engine", hidden_bytes=hidden)
    if seen is None and told is not None and hardware.is_wsl:
        hidden = min(told, WSL_HIDDEN)
        return replace(gpu, free_bytes=told - hidden, free_source="wsl", hidden_bytes=hidden)
    return gpu


def gpu_margin(total_bytes: int | None) -> int:
    """Bytes kept free on a card of that size, beside everything projected."""
    return max(GPU_MARGIN_LEAST, int((total_bytes or 0) * GPU_MARGIN_SHARE))


def memory_margin(total_bytes: int | None) -> int:
    """Bytes of the system's memory kept free, beside everything projected."""
    share = int((total_bytes or 0) * MEMORY_MARGIN_SHARE)
    return min(MEMORY_MARGIN_MOST, max(MEMORY_MARGIN_LEAST, share))


def _or(explicit: int | None, usual: int) -> int:
    return usual if explicit is None else explicit


def imagined(hardware: Hardware, *, vram_bytes: int | None, gpu_name: str | None) -> Hardware:
    """``hardware`` with one graphics card that isn't here: a known name, a size, or both.

    Of its memory, :data:`DESKTOP_SHARE` is taken by Windows. Raises ``ValueError`` for a name
    that is not known when no size is given.
    """
    card = find_gpu(gpu_name) if gpu_name else None
    if vram_bytes is None:
        if card is None:
            raise ValueError(gpu_name)
        vram_bytes = card.memory_bytes
    hidden = min(vram_bytes, DESKTOP_SHARE)
    gpu = Gpu(
        index=0,
        name=card.name
        if card
        else gpu_name or tr("a card with {size:g} GiB", size=vram_bytes / GIB),
        total_bytes=vram_bytes,
        free_bytes=vram_bytes - hidden,
        free_source="imagined",
        hidden_bytes=hidden,
    )
    return replace(hardware, gpus=(gpu,), gpu_problem=None)
