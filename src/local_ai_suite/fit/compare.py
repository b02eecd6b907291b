"""After loading: predicted against actual, and what a machine teaches about the margin.

Pure; the engine room stores the :class:`Record` as JSON and gives ``correction(...)`` back as
``FitRequest.learned``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .plan import FitPlan

MIB = 1 << 20
# What is called as projected: the bar of `make bench-fit`.
RELATIVE, ABSOLUTE = 0.05, 16 * MIB
# The engine's log and its names of a buffer's part -> the plan's.
_PARTS = {"model": "weights", "KV": "kv_cache", "RS": "kv_cache", "compute": "compute"}
KEPT = 20  # the last loads that a machine's correction is taken from
MOST_LEARNED = 2048 * MIB  # more than this is no deviation but another program's memory


@dataclass(frozen=True, slots=True)
class PartComparison:
    """One part on one device, in bytes."""

    device: str
    part: str
    projected: int
    actual: int

    @property
    def difference(self) -> int:
        """Bytes taken beyond the projection; negative: less was taken."""
        return self.actual - self.projected

    @property
    def as_projected(self) -> bool:
        """Within 5 % or 16 MiB of the projection."""
        return abs(self.difference) <= max(ABSOLUTE, int(RELATIVE * self.actual))


def compare(plan: FitPlan, actual: Mapping[tuple[str, str], int]) -> tuple[PartComparison, ...]:
    """``actual`` maps (device, part) to bytes, as ``engine.readback`` collects them from the log.

    Devices as the plan names them (``CUDA0``, ``CPU``), parts as the log does (``model``, ``KV``,
    ``RS``, ``compute``); the output buffer is too small to be planned. The CPU's weights are left
    out where a GPU has some: llama.cpp logs the span of the file that it maps, from the first
    tensor of the CPU to the last, with what lies on the GPU in between.
    """
    measured: dict[tuple[str, str], int] = {}
    for (device, part), size in actual.items():
        if part in _PARTS:
            key = (device, _PARTS[part])
            measured[key] = measured.get(key, 0) + size
    found = []
    planned = {device.name: device.parts for device in plan.devices}
    for name in [*planned, *sorted({d for d, _ in measured} - planned.keys())]:
        for part in ("weights", "kv_cache", "compute"):
            projected = getattr(planned[name], part) if name in planned else 0
            size = measured.get((name, part), 0)
            if name == "CPU" and part == "weights" and plan.uses_gpu:
                continue
            if part == "compute" and name in planned and planned[name].projector:
                continue  # the projector logs its own buffers under the same words
            if projected or size:
                found.append(PartComparison(name, part, projected, size))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Record:
    """The last loads on this machine: bytes that a device took beyond its projection.

    ``taken`` holds (model, bytes beyond the projection; negative: less).
    """

    taken: tuple[tuple[str, int], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For JSON; :meth:`from_dict` reads it."""
        return {"version": 1, "taken": [list(item) for item in self.taken]}

    @classmethod
    def from_dict(cls, data: object) -> Record:
        """Read what :meth:`as_dict` wrote; anything else is an empty record, never an error."""
        if not isinstance(data, dict) or data.get("version") != 1:
            return cls()
        rows = data.get("taken")
        if not isinstance(rows, list):
            return cls()
        kept = [
            (row[0], row[1])
            for row in rows
            if isinstance(row, list)
            and len(row) == 2
            and isinstance(row[0], str)
            and isinstance(row[1], int)
            and not isinstance(row[1], bool)
        ]
        return cls(tuple(kept[-KEPT:]))


def learn(record: Record, model: str, parts: Iterable[PartComparison]) -> Record:
    """``record`` with one more load. Of several GPUs the one that was missed most counts; the CPU
    counts where there is none, for the margin that is widened is that of where models run."""
    by_device: dict[str, int] = {}
    for part in parts:
        by_device[part.device] = by_device.get(part.device, 0) + part.difference
    if len(by_device) > 1:
        by_device.pop("CPU", None)
    if not by_device:
        return record
    worst = max(by_device.values())
    kept = [item for item in record.taken if item[0] != model]  # a model's newest load counts
    return Record((*kept, (model, worst))[-KEPT:])


def learn_free(
    record: Record, model: str, plan: FitPlan, before: Mapping[str, int], after: Mapping[str, int]
) -> Record:
    """``record`` with what the GPUs' free memory shows (``nvidia-smi``): bytes by device before and
    after loading ``model`` alone.

    Counts what no log line names: the CUDA context, the driver's pools.
    """
    beyond = [
        before[device.name] - after[device.name] - device.parts.total
        for device in plan.devices
        if device.kind == "gpu" and device.name in before and device.name in after
    ]
    if not beyond:
        return record
    kept = [item for item in record.taken if item[0] != model]
    return Record((*kept, (model, max(beyond)))[-KEPT:])


def correction(record: Record) -> int:
    """Bytes to add to the margin: the worst of the remembered loads, never negative.

    Only what goes beyond the bar of the projections is remembered as a lesson.
    """
    worst = max((size for _, size in record.taken), default=0)
    return min(MOST_LEARNED, worst) if worst > ABSOLUTE else 0
