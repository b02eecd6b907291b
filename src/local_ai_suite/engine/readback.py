"""What the engine really did, read from its log and its ``/props``, and how it differs from the
plan. Pure.

The lines are llama.cpp's own (``llama-model.cpp``, ``llama-context.cpp``, ``llama-kv-cache.cpp``)
as of 2025 and 2026; a line that is missing leaves its value ``None``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from local_ai_suite.errors import LoadFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .pace import Speed

_STAMP = re.compile(r"^\d+\.\d+\.\d+\.\d+ (?P<level>[IWED]) ")
_OFFLOADED = re.compile(r"offloaded (\d+)/(\d+) layers to GPU")
_BUFFER = re.compile(r"(\S+) +(model|KV|compute|output|RS) buffer size = +([\d.]+) MiB")
# ggml-cuda.cu, ggml_backend_cuda_buffer_type_alloc_buffer
_REFUSED = re.compile(r"allocating ([\d.]+) MiB on device (\d+): cudaMalloc failed: out of memory")
_N_CTX_SEQ = re.compile(r"n_ctx_(?:seq|per_seq|slot) += +(\d+)")
_FAILURE = re.compile(
    r"error|failed|unable|cannot|couldn't|out of memory|GGML_ASSERT|abort", re.IGNORECASE
)
_LAST_RESORTS = ("failed to load model", "exiting due to", "failed to init server")
_LONGEST_REASON = 500
_MIB = 2**20

Part = Literal["model", "KV", "compute", "output", "RS"]


class CardFull(LoadFailed):
    """A GPU had no room for what was planned. ``attempted``: the bytes by device that the engine
    held and asked for when it was refused."""

    def __init__(self, message: str, *, attempted: Mapping[str, int], **more: Any) -> None:
        super().__init__(message, **more)
        self.attempted = attempted


@dataclass(slots=True)
class LogFacts:
    """Collects facts from an engine's log, line by line. Bytes by (device, part).

    ``refused``: bytes by device that it asked for and did not get.
    """

    layers_offloaded: int | None = None
    layers_total: int | None = None
    context_per_slot: int | None = None
    cpu_features: tuple[str, ...] = ()
    buffers: dict[tuple[str, str], int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)

    def read(self, line: str) -> None:
        if "buffer size" in line and (match := _BUFFER.search(line)):
            key = (device(match[1]), match[2])
            self.buffers[key] = self.buffers.get(key, 0) + int(float(match[3]) * _MIB)
        elif match := _REFUSED.search(line):
            self.refused[f"CUDA{match[2]}"] = int(float(match[1]) * _MIB)
        elif match := _OFFLOADED.search(line):
            self.layers_offloaded, self.layers_total = int(match[1]), int(match[2])
        elif match := _N_CTX_SEQ.search(line):
            self.context_per_slot = int(match[1])
        elif not self.cpu_features:
            self.cpu_features = cpu_features(line)

    def attempted(self) -> dict[str, int]:
        """Bytes by device that were held and asked for, where it was refused some."""
        held = self.bytes_by_device()
        return {name: held.get(name, 0) + size for name, size in self.refused.items()}

    def bytes_by_device(self) -> dict[str, int]:
        total: dict[str, int] = {}
        for (name, _), amount in self.buffers.items():
            total[name] = total.get(name, 0) + amount
        return total


@dataclass(frozen=True, slots=True)
class Actual:
    """What runs: effective tokens per slot, slots, layers on the GPU, bytes per device and part."""

    context_per_slot: int | None = None
    parallel: int | None = None
    layers_offloaded: int | None = None
    layers_total: int | None = None
    cpu_features: tuple[str, ...] = ()
    buffers: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def devices(self) -> tuple[str, ...]:
        """Devices that hold weights."""
        return tuple(sorted({name for name, part in self.buffers if part == "model"}))


@dataclass(frozen=True, slots=True)
class Expected:
    """What the plan said. ``None``: it had no opinion."""

    n_gpu_layers: int = 0
    context_per_slot: int | None = None
    parallel: int | None = None
    bytes_by_device: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Deviation:
    """One difference between plan and reality. ``failure`` ones are misfits (``ON_MISFIT``)."""

    failure: bool
    message: str


def compare(expected: Expected, actual: Actual) -> tuple[Deviation, ...]:
    """What is not as planned.

    Fewer layers on the GPU than planned, or a smaller context, is a failure; more memory than
    projected (5 % and 64 MiB) is a warning.
    """
    found: list[Deviation] = []
    if expected.n_gpu_layers > 0:
        found += _layers(expected.n_gpu_layers, actual)
    have, want = actual.context_per_slot, expected.context_per_slot
    if have is not None and want is not None and have < want:
        found.append(Deviation(True, f"{have} tokens of context per slot, planned were {want}"))
    if actual.parallel and expected.parallel and actual.parallel < expected.parallel:
        message = f"{actual.parallel} slots, planned were {expected.parallel}"
        found.append(Deviation(True, message))
    for name, planned in expected.bytes_by_device.items():
        real = sum(amount for (on, _), amount in actual.buffers.items() if on == name)
        if real > planned * 1.05 + 64 * _MIB:
            message = f"{name} holds {real // _MIB} MiB, projected were {planned // _MIB} MiB"
            found.append(Deviation(False, message))
    return tuple(found)


def _layers(planned: int, actual: Actual) -> list[Deviation]:
    on_gpu = actual.layers_offloaded
    if on_gpu is None:
        if any(name != "CPU" for name in actual.devices):
            return []
        message = f"everything landed on the CPU, planned were {planned} layers on the GPU"
        return [Deviation(True, message)]
    wanted = min(planned, actual.layers_total or planned)
    if on_gpu >= wanted:
        return []
    where = "everything landed on the CPU" if on_gpu == 0 else f"{on_gpu} layers are on the GPU"
    return [Deviation(True, f"{where}, planned were {wanted} layers on the GPU")]


def too_slow(speed: Speed) -> Deviation | None:
    """What to say of a speed far under the plan; ``None`` for any other."""
    if not speed.is_slow:
        return None
    message = (
        f"{speed.measured:.1f} tokens/s generated at best, projected were {speed.expected:.1f}"
    )
    return Deviation(False, message)


def generated(metrics: str) -> tuple[float, float] | None:
    """(tokens generated since the start, seconds that they took) from the text of
    ``GET /metrics``; ``None`` if it does not tell."""
    tokens = _counter(metrics, "tokens_predicted_total")
    seconds = _counter(metrics, "tokens_predicted_seconds_total")
    return None if tokens is None or seconds is None else (tokens, seconds)


def _counter(metrics: str, name: str) -> float | None:
    match = re.search(rf"^llamacpp:{name} ([\d.e+-]+)$", metrics, re.MULTILINE)
    return float(match[1]) if match else None


def cpu_features(line: str) -> tuple[str, ...]:
    """The processor's instructions that the binary uses, off its ``system_info`` line: ``AVX2``,
    ``AVX512``...; empty for another line."""
    _, found, info = line.partition("| CPU :")
    if not found or "system_info" not in line:
        return ()
    cpu = re.split(r"\| [A-Za-z]+\d* : ", info)[0]  # the next backend
    return tuple(re.findall(r"([A-Z]\w*) = 1", cpu))


def device(buffer: str) -> str:
    """``CUDA0`` for ``CUDA0``; ``CPU`` for host buffers: ``CPU_Mapped``, ``CUDA_Host``..."""
    if buffer.endswith("_Host") or buffer.startswith(("CPU", "BLAS", "AMX")):
        return "CPU"
    return buffer.split("_", maxsplit=1)[0]


def failure_reason(lines: Sequence[str]) -> str | None:
    """The most telling error line of an engine's log, without its time stamp.

    llama.cpp says the cause first and then several times that it failed: of the error lines the
    first specific one tells most.
    """
    errors = [line for line in lines if (m := _STAMP.match(line)) and m["level"] == "E"]
    if not errors:
        errors = [line for line in lines if _FAILURE.search(line)]
    plain = [_STAMP.sub("", line).strip() for line in errors]
    telling = [line for line in plain if not any(word in line for word in _LAST_RESORTS)]
    causes = [line for line in telling if "error loading model" in line] or telling or plain
    return causes[0][:_LONGEST_REASON] if causes else None
