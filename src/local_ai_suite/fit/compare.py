"""After loading: predicted against actual, and what a machine teaches about the margin.

Pure; the engine room stores the :class:`Record` as JSON and gives ``correction(record, model)``
back as ``FitRequest.learned``.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .plan import FitPlan

MIB = 1 << 20
# What is called as projected: the bar of `make bench-fit`.
RELATIVE, ABSOLUTE = 0.05, 16 * MIB
# The engine's log and its names of a buffer's part -> the plan's.
_PARTS = {"model": "weights", "KV": "kv_cache", "RS": "kv_cache", "compute": "compute"}
VERSION = 2  # of the record's JSON
KEPT = 40  # lessons
# Loads of any model, after which a lesson that was not renewed is forgotten: its model is gone, or
# was last seen under another driver.
FORGOTTEN_AFTER = 100
# So many other models must agree before they say something about one that was never loaded.
ENOUGH_OTHERS = 3
SHORT_STEP = 256 * MIB  # less, at least, after a load for which a GPU had no room
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
class Lesson:
    """What one model's last load took beyond its projection, in bytes (negative: less).

    ``model``: its file's name; ``seen``: ``log`` (the engine's buffers), ``free`` (what the GPUs'
    free memory lost) or ``short`` (a load for which a GPU had no room); ``load``: the number of
    that load, counted on this machine.
    """

    model: str
    seen: Literal["log", "free", "short"]
    beyond: int
    load: int


@dataclass(frozen=True, slots=True)
class Record:
    """The lessons of this machine's last loads, oldest first, and how many loads there were."""

    lessons: tuple[Lesson, ...] = ()
    loads: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For JSON; :meth:`from_dict` reads it."""
        return {
            "version": VERSION,
            "count": self.loads,
            "lessons": [[item.model, item.seen, item.beyond, item.load] for item in self.lessons],
        }

    @classmethod
    def from_dict(cls, data: object) -> Record:
        """Read what :meth:`as_dict` wrote; anything else is an empty record, never an error."""
        match data:
            case {"version": v, "count": int(count), "lessons": [*rows]} if v == VERSION:
                found = [lesson for row in rows if (lesson := _lesson(row)) is not None]
                return cls(tuple(found[-KEPT:]), count)
        return cls()


def learn(record: Record, model: str, parts: Iterable[PartComparison]) -> Record:
    """``record`` with one more load of the file ``model``. Of several GPUs the one that was missed
    most counts; the CPU counts where there is none, for the margin that is widened is that of where
    models run."""
    seen = tuple(parts)
    planned = {part.device for part in seen if part.projected}
    by_device = dict.fromkeys(planned, 0)
    for part in seen:
        if part.device in planned:  # what lies on another says nothing about this plan's margins
            by_device[part.device] += part.difference
    if len(by_device) > 1:
        by_device.pop("CPU", None)
    loads = record.loads + 1
    young = tuple(item for item in record.lessons if loads - item.load < FORGOTTEN_AFTER)
    if not by_device:
        return Record(young, loads)
    return _with(Record(young, loads), Lesson(model, "log", max(by_device.values()), loads))


def learn_free(
    record: Record, model: str, plan: FitPlan, before: Mapping[str, int], after: Mapping[str, int]
) -> Record:
    """``record`` with what the GPUs' free memory shows (``nvidia-smi``) of the load that was
    learned last: bytes by device before and after loading ``model`` alone.

    Counts what no log line names: the CUDA context, the driver's pools. It stands beside what the
    log says: a later load may not be alone.
    """
    beyond = [
        before[device.name] - after[device.name] - device.parts.total
        for device in plan.devices
        if device.kind == "gpu" and device.name in before and device.name in after
    ]
    if not beyond:
        return record
    return _with(record, Lesson(model, "free", max(beyond), record.loads))


def learn_short(
    record: Record, model: str, plan: FitPlan, attempted: Mapping[str, int], *, last: bool
) -> Record:
    """``record`` with a load of ``plan`` for which a GPU had no room: the next plan takes less.

    ``attempted``: bytes by device that the engine held there and asked for when it was refused, so
    there is less than that; how much less nobody says, so the next attempt is an eighth smaller.
    ``last``: no further attempt on a GPU.
    """
    found = 0
    for device in plan.devices:
        if device.kind != "gpu" or device.name not in attempted:
            continue
        free = device.free_bytes or device.total_bytes or 0
        there = min(device.parts.total, attempted[device.name] + device.parts.overhead)
        step = max(SHORT_STEP, there // 8)
        # At least a step more than this plan kept free already: each attempt is a smaller one.
        found = max(found, free if last else max(free - there, device.margin_bytes) + step)
    return _with(record, Lesson(model, "short", found, record.loads)) if found else record


def correction(record: Record, model: str) -> int:
    """Bytes to add to the margin for the file ``model``, never negative.

    What its own last load took beyond the projection. For a model that was never loaded here it is
    the median of the others' (of three at least): what all of them take, a driver's context say,
    and not what one of them was misjudged by. What stays within the bar of the projections is no
    lesson.
    """
    of_model = [item for item in record.lessons if item.model == model]
    # What a card refused is known, whoever had the room: it has no upper bound.
    short = max((item.beyond for item in of_model if item.seen == "short"), default=0)
    own = [item.beyond for item in of_model if item.seen != "short"]
    of_others = _worst_of_each(record)
    if own:
        beyond = max(own)
    elif len(of_others) >= ENOUGH_OTHERS:
        beyond = int(median(of_others))
    else:
        beyond = 0
    return max(short, min(MOST_LEARNED, beyond) if beyond > ABSOLUTE else 0)


def _worst_of_each(record: Record) -> list[int]:
    worst: dict[str, int] = {}
    for item in record.lessons:
        worst[item.model] = max(worst.get(item.model, item.beyond), item.beyond)
    return list(worst.values())


def _with(record: Record, lesson: Lesson) -> Record:
    """A model's newest lesson of a kind replaces its last one."""
    same = (lesson.model, lesson.seen)
    kept = [item for item in record.lessons if (item.model, item.seen) != same]
    return Record((*kept, lesson)[-KEPT:], record.loads)


def _lesson(row: object) -> Lesson | None:
    match row:
        case [str(model), ("log" | "free" | "short") as seen, int(beyond), int(load)] if not (
            isinstance(beyond, bool) or isinstance(load, bool)
        ):
            return Lesson(model, seen, beyond, load)
    return None
