"""How much there is for models now, and what loading them really took: the planner's two senses."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from local_ai_suite import hardware
from local_ai_suite.fit import free_for_engine

from .ledger import plus
from .placement import capacity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from local_ai_suite.fit import FitPlan
    from local_ai_suite.hardware import Hardware

    from .bandwidth import MemorySpeed
    from .learning import FitMemory
    from .ledger import Bytes
    from .pace import Speed
    from .placement import FitPlanner

logger = logging.getLogger(__name__)


class Room:
    """What is free now, with what our own models hold: others come and go on the same machine.

    Asked before a model is loaded; the first time it looks how fast the memory is, too. ``seen``
    asks the engine for the free bytes of its devices: in WSL2 the driver does not tell all.
    """

    def __init__(
        self, planner: FitPlanner, speed: MemorySpeed, seen: Callable[[], Mapping[str, int]]
    ) -> None:
        self._planner = planner
        self._seen = seen
        self._speed = speed
        self.gpus_free: dict[str, int] | None = None
        """The GPUs' free bytes when last asked, if no model held any of them."""

    async def __call__(self, taken: Bytes) -> dict[str, int]:
        """Bytes that models may hold in all, by device: what is free, and what ours have ``taken``
        of it (``EngineProcess.taken``)."""
        machine, self._planner.memory_speed = await asyncio.gather(
            asyncio.to_thread(hardware.detect), asyncio.to_thread(self._speed.look)
        )
        planner, chosen = self._planner, self._planner.settings.cuda_visible_devices
        alone = not any(size for device, size in taken.items() if device != "CPU")
        # Both looks of a comparison are nvidia-smi's: what Windows holds is in neither.
        self.gpus_free = self.free_of(machine) if alone else None
        if planner.engine_has_gpu and machine.visible(chosen):
            # After nvidia-smi, not beside it: the engine that is asked has a context of its own.
            machine = free_for_engine(machine, await asyncio.to_thread(self._seen), chosen)
            planner.machine = replace(planner.machine, gpus=machine.gpus)
        free = capacity(machine, planner.settings, engine_has_gpu=planner.engine_has_gpu)
        return plus(free, {device: size for device, size in taken.items() if device in free})

    async def look_at_gpus(self) -> dict[str, int]:
        """The GPUs' free bytes now."""
        return self.free_of(await asyncio.to_thread(hardware.detect))

    def free_of(self, machine: Hardware) -> dict[str, int]:
        visible = machine.visible(self._planner.settings.cuda_visible_devices)
        return {
            f"CUDA{number}": gpu.free_bytes
            for number, gpu in enumerate(visible)
            if gpu.free_bytes is not None
        }


class Learner:
    """What loads teach (``learning.Notes``): remembered, and given to the planner."""

    def __init__(self, memory: FitMemory, planner: FitPlanner, room: Room) -> None:
        self.used: Callable[[], Bytes] = dict
        """The ledger's word on the bytes that models hold."""
        self._memory = memory
        self._planner = planner
        self._room = room
        self._tasks: set[asyncio.Task[None]] = set()

    def loaded(self, name: str, plan: FitPlan, buffers: Mapping[tuple[str, str], int]) -> None:
        """What the engine's log says at once; what the GPU's free memory says a moment later."""
        self._memory.note(name, plan, buffers)
        self._planner.lessons = self._memory.record
        before, self._room.gpus_free = self._room.gpus_free, None
        if before is not None and plan.uses_gpu:
            task = asyncio.create_task(self._compare_free(plan, before))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def short(self, plan: FitPlan, attempted: Mapping[str, int], *, last: bool) -> None:
        self._memory.note_short(plan, attempted, last=last)
        self._planner.lessons = self._memory.record

    def generated(self, name: str, speed: Speed) -> None:
        self._memory.note_speed(name, speed)

    async def _compare_free(self, plan: FitPlan, before: Bytes) -> None:
        """Counts what no log line names (the CUDA context), where the model is alone there."""
        mine = {device.name: device.parts.total for device in plan.devices if device.kind == "gpu"}
        if not self._is_alone(mine):
            return
        after = await self._room.look_at_gpus()
        if self._is_alone(mine):
            self._memory.note_free(plan, before, after)
            self._planner.lessons = self._memory.record

    def _is_alone(self, mine: Bytes) -> bool:
        return all(
            size == mine.get(device, 0) for device, size in self.used().items() if device != "CPU"
        )
