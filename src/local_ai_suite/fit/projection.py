"""Where the bytes of one way to load a model lie: a pure projection, no choices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .memory import (
    cache_bytes,
    compute_bytes,
    host_compute_bytes,
    host_layers_bytes,
    layer_weights,
    offloaded_bytes,
    offloads_batches,
    on_gpu,
    output_weights,
)
from .plan import DevicePlan, Parts

if TYPE_CHECKING:
    from .machine import Device
    from .memory import Load
    from .shape import ModelShape


@dataclass(frozen=True, slots=True)
class Projector:
    """A vision or audio projector: its weights, and the scratch of encoding one image."""

    weights: int
    compute: int


def project(
    shape: ModelShape,
    load: Load,
    gpus: tuple[Device, ...],
    cpu: Device,
    projector: Projector | None = None,
) -> tuple[DevicePlan, ...]:
    """The projected bytes on each GPU in use and on the CPU."""
    used = gpus if load.n_gpu_layers else ()
    weights = [0] * (len(used) + 1)  # the CPU is the last
    cache = [0] * (len(used) + 1)
    busy = [False] * (len(used) + 1)
    offloads, offloaded = bool(used) and offloads_batches(load), 0
    weights[-1] += shape.input_bytes
    for number, layer in enumerate(shape.layers):
        place = _device_of(shape, load, number, used)
        follows, stays = layer_weights(layer, experts_on_cpu=bool(used) and number < load.n_cpu_moe)
        weights[place] += follows
        weights[-1] += stays
        cache[place] += cache_bytes(shape, layer, load)
        busy[place] = True
        busy[-1] |= stays > 0
        if offloads and (place == len(used) or stays):
            only_experts = place < len(used)
            needed = offloaded_bytes(shape, layer, load, only_experts=only_experts)
            offloaded = max(offloaded, needed)
    end = _device_of(shape, load, len(shape.layers), used)
    weights[end] += output_weights(shape) if used else shape.output_bytes
    busy[end] = True
    plans = []
    for number, device in enumerate((*used, cpu)):
        on_cpu = number == len(used)
        compute = compute_bytes(shape, load) if busy[number] else 0
        if on_cpu and used:
            host = host_compute_bytes(shape, load)
            if not offloads:
                compute = max(host, compute)
            else:
                compute = host if on_gpu(shape, load, 0) else host_layers_bytes(shape, load)
        elif number == 0:
            compute = max(compute, offloaded)
        carries = projector is not None and number == 0  # the first device, or the CPU alone
        plans.append(
            DevicePlan(
                name=device.name,
                kind=device.kind,
                description=device.description,
                parts=Parts(
                    weights=weights[number],
                    kv_cache=cache[number],
                    compute=compute,
                    projector=projector.weights + projector.compute if projector and carries else 0,
                    overhead=device.overhead_bytes,
                ),
                free_bytes=device.free_bytes,
                total_bytes=device.total_bytes,
                margin_bytes=device.margin_bytes,
            )
        )
    return tuple(plans)


def _device_of(shape: ModelShape, load: Load, layer: int, gpus: tuple[Device, ...]) -> int:
    """``get_layer_buft_list``: layers are split over the GPUs in proportion to their free bytes.

    The index into ``gpus``; the CPU follows them.
    """
    if not gpus or not on_gpu(shape, load, layer):
        return len(gpus)
    if len(gpus) == 1:
        return 0
    free = [gpu.free_bytes or gpu.total_bytes or 1 for gpu in gpus]
    first = max(0, len(shape.layers) + 1 - load.n_gpu_layers)
    share = (layer - first) / min(load.n_gpu_layers, len(shape.layers) + 1)
    reached = 0.0
    for number, size in enumerate(free):
        reached += size / sum(free)
        if share < reached:
            return number
    return len(gpus) - 1
