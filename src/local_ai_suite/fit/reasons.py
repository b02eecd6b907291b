"""Why a plan is as it is, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_ai_suite.messages import joined, tr

from .plan import GIB, MIB, DevicePlan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .memory import Load
    from .plan import FitRequest
    from .shape import ModelShape

# An engine that is asked holds a context of its own for that moment: up to so much says nothing.
_WORTH_SAYING = 512 * MIB


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
            *_hidden(request),
        )
        if reason
    )


def _where(
    request: FitRequest, shape: ModelShape, load: Load, projected: tuple[DevicePlan, ...]
) -> str:
    layers = shape.gpu_layers
    if request.n_gpu_layers is not None and load.n_gpu_layers:
        return tr(
            "{layers} of {all} layers on the GPU: set explicitly.",
            layers=load.n_gpu_layers,
            all=layers,
        )
    if request.n_gpu_layers == 0:
        return tr("On the CPU: N_GPU_LAYERS is 0.")
    if load.n_gpu_layers >= layers:
        return tr(
            "All {layers} layers fit on {devices}.",
            layers=layers,
            devices=joined(tr(" and "), (d.name for d in projected[:-1])),
        )
    if load.n_gpu_layers:
        return tr(
            "{layers} of {all} layers fit on the GPU; the others run on the CPU, slower.",
            layers=load.n_gpu_layers,
            all=layers,
        )
    if not request.engine_has_gpu and request.hardware.gpus:
        return tr("On the CPU: the engine found has no GPU support, although there is a GPU.")
    if not request.hardware.gpus:
        return tr("On the CPU: no GPU was found.")
    if not request.hardware.visible(request.cuda_visible_devices):
        return tr("On the CPU: CUDA_VISIBLE_DEVICES hides every GPU.")
    if any(gpu.free_bytes is None for gpu in request.hardware.gpus):
        return tr("On the CPU: how much memory the GPU has free is unknown.")
    return tr("On the CPU: not even one layer fits on the GPU beside what is there.")


def _experts(shape: ModelShape, load: Load) -> str:
    if not (shape.is_moe and load.n_gpu_layers and load.n_cpu_moe):
        return ""
    kept = sum(layer.expert_bytes for layer in shape.layers[: load.n_cpu_moe])
    return tr(
        "The experts of {layers} layers ({size}) stay in system memory: a "
        "token uses {used} of {experts}.",
        layers=load.n_cpu_moe,
        size=size_text(kept),
        used=shape.experts_used,
        experts=shape.experts,
    )


def _context(request: FitRequest, shape: ModelShape, load: Load, ceiling: int) -> str:
    trained = shape.trained_context
    if request.ctx_size is not None and load.ctx_size >= request.ctx_size:
        return tr(
            "{ctx_size} tokens of context per slot: set explicitly.", ctx_size=request.ctx_size
        )
    if load.ctx_size < ceiling:
        return tr("{ctx_size} tokens of context per slot: as much as fits.", ctx_size=load.ctx_size)
    if trained is not None and trained <= load.ctx_size:
        return tr(
            "{ctx_size} tokens of context per slot: what the model was trained for.",
            ctx_size=load.ctx_size,
        )
    return tr(
        "{ctx_size} tokens of context per slot; ask for more with CTX_SIZE.", ctx_size=load.ctx_size
    )


def _cache(request: FitRequest, shape: ModelShape, load: Load) -> str:
    if not any(layer.k_width for layer in shape.layers):
        return ""
    if request.cache_type_k or request.cache_type_v:
        return tr(
            "Cache in {cache_type_k}/{cache_type_v}: set explicitly.",
            cache_type_k=load.cache_type_k,
            cache_type_v=load.cache_type_v,
        )
    if load.cache_type_k != "f16":
        return tr(
            "The cache is kept in {cache_type_k}, to make room.", cache_type_k=load.cache_type_k
        )
    return ""


def _slots(request: FitRequest, load: Load) -> str:
    if request.parallel is not None:
        return tr("{parallel} slots: set explicitly.", parallel=load.parallel)
    if load.parallel > 1:
        return tr("{parallel} slots, each with the whole context.", parallel=load.parallel)
    return tr("One slot: requests wait for each other.")


def _learned(request: FitRequest) -> str:
    if not request.learned:
        return ""
    return tr(
        "The margin is {size} wider: learned from earlier loads here.",
        size=size_text(request.learned),
    )


def _hidden(request: FitRequest) -> Iterator[str]:
    """Why less is free on a card than nvidia-smi says."""
    if not request.engine_has_gpu:
        return
    for gpu in request.hardware.visible(request.cuda_visible_devices):
        size, total = size_text(gpu.hidden_bytes), size_text(gpu.total_bytes or 0)
        if gpu.free_source == "imagined":
            yield tr(
                "{free} of {total} count as free on the card: Windows holds some {size}, as was "
                "seen on an RTX 4050 in WSL2.",
                free=_in_mib((gpu.total_bytes or 0) - gpu.hidden_bytes),
                total=_in_mib(gpu.total_bytes or 0),
                size=size,
            )
        elif gpu.free_source == "wsl":
            yield tr(
                "{size} of {total} on {name} count as taken: nvidia-smi in WSL2 does not show what "
                "Windows uses, and the engine does not say what is free.",
                size=size,
                total=total,
                name=gpu.name,
            )
        elif gpu.hidden_bytes >= _WORTH_SAYING:
            yield tr(
                "The engine sees {size} less free on {name} than nvidia-smi says; its word counts.",
                size=size,
                name=gpu.name,
            )


def _in_mib(size: int) -> str:
    return f"{size // MIB:,} MiB"


def cautions(request: FitRequest, shape: ModelShape, load: Load) -> tuple[str, ...]:
    """What a person should know although the plan may fit, with the remedy."""
    found = []
    if request.hardware.gpus and not request.engine_has_gpu and request.n_gpu_layers != 0:
        found.append(
            tr(
                "The engine found has no GPU support, so the GPU stays idle: `lais engine "
                "build` makes one that has it, or name one with LLAMA_SERVER."
            )
        )
    elif request.n_gpu_layers and not load.n_gpu_layers:
        found.append(
            tr(
                "N_GPU_LAYERS is {n_gpu_layers}, but there is no GPU to use.",
                n_gpu_layers=request.n_gpu_layers,
            )
        )
    trained = shape.trained_context
    if request.ctx_size is not None and trained is not None and request.ctx_size > trained:
        found.append(
            tr(
                "CTX_SIZE is {ctx_size}; the engine gives no more than the {trained} tokens that "
                "the model was trained for.",
                ctx_size=request.ctx_size,
                trained=trained,
            )
        )
    return tuple(found)


def shortfall(projected: tuple[DevicePlan, ...]) -> tuple[str, ...]:
    """What is missing, per device."""
    found = []
    for device in projected:
        if device.free_bytes is None:
            found.append(tr("{name}: how much memory is free is unknown.", name=device.name))
        elif not device.fits:
            found.append(
                tr(
                    "{name}: {size} and a margin of {margin} are needed, {free} are free.",
                    name=device.name,
                    size=size_text(device.parts.total),
                    margin=size_text(device.margin_bytes),
                    free=size_text(device.free_bytes),
                )
            )
    return tuple(found)
