"""Expected speed: generating a token reads every active weight once, so bandwidth bounds it.

tokens/s = 1 / (a fixed time + sum over devices of (bytes read there / (bandwidth x what is reached
of it))). The share reached is what llama.cpp reaches in practice: llama-bench on quantized 7B
models gives 65 to 80 % of a card's bandwidth, and about 70 % of what a memory copy reaches on the
CPU. The fixed time is what a model of hardly any weights takes: sampling, the threads' waits for
each other at each operation, the server's loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .memory import cache_bytes, on_gpu

if TYPE_CHECKING:
    from .machine import Device
    from .memory import Load
    from .shape import ModelShape

GPU_REACHED = 0.65
CPU_REACHED = 0.70
TOKEN_FIXED_SECONDS = 0.001
LOAD_FIXED_SECONDS = 1.0  # starting the process, building graphs, the warm-up


def tokens_per_second(
    shape: ModelShape, load: Load, gpus: tuple[Device, ...], cpu: Device
) -> float | None:
    """Tokens per second of one conversation with a quarter of its context filled; ``None`` if a
    bandwidth in use is unknown."""
    on_cards, in_memory = bytes_per_token(shape, load)
    seconds = TOKEN_FIXED_SECONDS
    if on_cards:
        if not gpus or not all(gpu.bandwidth for gpu in gpus):
            return None
        # Layers run one after the other, each on its own card.
        share = on_cards / len(gpus)
        seconds += sum(share / ((gpu.bandwidth or 1.0) * GPU_REACHED) for gpu in gpus)
    if in_memory:
        if not cpu.bandwidth:
            # A few rows of the embedding are read; everything else lies on the card.
            return None
        seconds += in_memory / (cpu.bandwidth * CPU_REACHED)
    return 1 / seconds if on_cards or in_memory else None


def bytes_per_token(shape: ModelShape, load: Load) -> tuple[int, int]:
    """(bytes read on the GPUs, bytes read in the system's memory) for one generated token."""
    used = shape.experts_used / shape.experts if shape.experts else 0.0
    gpu = cpu = 0.0
    for number, layer in enumerate(shape.layers):
        dense = layer.weight_bytes - layer.expert_bytes
        experts = layer.expert_bytes * used
        cache = cache_bytes(shape, layer, load) / load.parallel / 4
        if on_gpu(shape, load, number):
            gpu += dense + cache
            if number < load.n_cpu_moe:
                cpu += experts
            else:
                gpu += experts
        else:
            cpu += dense + experts + cache
    output = shape.output_bytes + shape.tied_bytes
    if load.n_gpu_layers:  # the output is the first that goes to a GPU
        gpu += output
    else:
        cpu += output
    return int(gpu), int(cpu)


def load_seconds(file_bytes: int, disk_speed: float | None) -> float | None:
    """From the disk into memory, with what starting takes; ``None`` without a measured speed."""
    return None if not disk_speed else LOAD_FIXED_SECONDS + file_bytes / disk_speed
