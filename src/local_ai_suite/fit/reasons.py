"""Why a plan is as it is, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .plan import GIB, MIB, DevicePlan

if TYPE_CHECKING:
    from .memory import Load
    from .plan import FitRequest
    from .shape import ModelShape


def size_text(size: int) -> str:
    """``812 MiB``, ``4.7 GiB``."""
    return f"{size / GIB:.1f} GiB" if abs(size) >= GIB else f"{size / MIB:.0f} MiB"


def reasons_for(
    request: FitRequest,
    shape: ModelShape,
    load: Load,
    projected: tuple[DevicePlan, ...],
    ceiling: int,
) -> tuple[str, ...]:
    return tuple(
        reason
        for reason in (
            _where(request, shape, load, projected),
            _experts(shape, load),
            _context(request, shape, load, ceiling),
            _cache(request, shape, load),
            _slots(request, load),
            _learned(request),
        )
        if reason
    )


def _where(
    request: FitRequest, shape: ModelShape, load: Load, projected: tuple[DevicePlan, ...]
) -> str:
    layers = shape.gpu_layers
    if request.n_gpu_layers is not None and load.n_gpu_layers:
        return f"{load.n_gpu_layers} of {layers} layers on the GPU: set explicitly."
    if request.n_gpu_layers == 0:
        return "On the CPU: N_GPU_LAYERS is 0."
    if load.n_gpu_layers >= layers:
        return f"All {layers} layers fit on {' and '.join(d.name for d in projected[:-1])}."
    if load.n_gpu_layers:
        return (
            f"{load.n_gpu_layers} of {layers} layers fit on the GPU; the others run on the CPU, "
            "slower."
        )
    if not request.engine_has_gpu and request.hardware.gpus:
        return "On the CPU: the engine found has no GPU support, although there is a GPU."
    if not request.hardware.gpus:
        return "On the CPU: no GPU was found."
    if not request.hardware.visible(request.cuda_visible_devices):
        return "On the CPU: CUDA_VISIBLE_DEVICES hides every GPU."
    if any(gpu.free_bytes is None for gpu in request.hardware.gpus):
        return "On the CPU: how much memory the GPU has free is unknown."
    return "On the CPU: not even one layer fits on the GPU beside what is there."


def _experts(shape: ModelShape, load: Load) -> str:
    if not (shape.is_moe and load.n_gpu_layers and load.n_cpu_moe):
        return ""
    kept = sum(layer.expert_bytes for layer in shape.layers[: load.n_cpu_moe])
    return (
        f"The experts of {load.n_cpu_moe} layers ({size_text(kept)}) stay in system memory: a "
        f"token uses {shape.experts_used} of {shape.experts}."
    )


def _context(request: FitRequest, shape: ModelShape, load: Load, ceiling: int) -> str:
    trained = shape.trained_context
    if request.ctx_size is not None:
        beyond = trained is not None and request.ctx_size > trained
        note = f", more than the {trained} the model was trained for" if beyond else ""
        return f"{request.ctx_size} tokens of context per slot: set explicitly{note}."
    if load.ctx_size < ceiling:
        return f"{load.ctx_size} tokens of context per slot: as much as fits."
    if trained is not None and trained <= load.ctx_size:
        return f"{load.ctx_size} tokens of context per slot: what the model was trained for."
    return f"{load.ctx_size} tokens of context per slot; ask for more with CTX_SIZE."


def _cache(request: FitRequest, shape: ModelShape, load: Load) -> str:
    if not any(layer.k_width for layer in shape.layers):
        return ""
    if request.cache_type_k or request.cache_type_v:
        return f"Cache in {load.cache_type_k}/{load.cache_type_v}: set explicitly."
    if load.cache_type_k != "f16":
        return f"The cache is kept in {load.cache_type_k}, to make room."
    return ""


def _slots(request: FitRequest, load: Load) -> str:
    if request.parallel is not None:
        return f"{load.parallel} slots: set explicitly."
    if load.parallel > 1:
        return f"{load.parallel} slots, each with the whole context."
    return "One slot: requests wait for each other."


def _learned(request: FitRequest) -> str:
    if not request.learned:
        return ""
    return f"The margin is {size_text(request.learned)} wider: learned from earlier loads here."


def cautions(request: FitRequest, shape: ModelShape, load: Load) -> tuple[str, ...]:
    """What a person should know although the plan may fit, with the remedy."""
    found = []
    if request.hardware.gpus and not request.engine_has_gpu and request.n_gpu_layers != 0:
        found.append(
            "The engine found has no GPU support, so the GPU stays idle: `lais engine build` makes "
            "one that has it, or name one with LLAMA_SERVER."
        )
    elif request.n_gpu_layers and not load.n_gpu_layers:
        found.append(f"N_GPU_LAYERS is {request.n_gpu_layers}, but there is no GPU to use.")
    trained = shape.trained_context
    if request.ctx_size is not None and trained is not None and request.ctx_size > trained:
        found.append(
            f"CTX_SIZE is {request.ctx_size}; beyond the {trained} tokens it was trained for a "
            "model answers badly."
        )
    return tuple(found)


def shortfall(projected: tuple[DevicePlan, ...]) -> tuple[str, ...]:
    """What is missing, per device."""
    found = []
    for device in projected:
        if device.free_bytes is None:
            found.append(f"{device.name}: how much memory is free is unknown.")
        elif not device.fits:
            found.append(
                f"{device.name}: {size_text(device.parts.total)} and a margin of "
                f"{size_text(device.margin_bytes)} are needed, "
                f"{size_text(device.free_bytes)} are free."
            )
    return tuple(found)
