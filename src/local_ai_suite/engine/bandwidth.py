"""How fast this machine's memory is: measured at the first loads, remembered, and never guessed.

A busy machine measures too little and never too much, so the best of the first few counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local_ai_suite.hardware import measure_memory_speed

from .learning import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from local_ai_suite.hardware import Hardware

FILE_NAME = "machine.json"
# Each takes a fifth of a second, at a moment when a model is about to be loaded anyway.
MEASUREMENTS = 3
# A few cores fill the memory's channels; more would only need more memory to measure with.
MOST_THREADS = 4


class MemorySpeed:
    """Bytes per second of this machine's memory, in ``STATE/machine.json``.

    A state folder that was copied to another machine is measured anew there.
    """

    def __init__(
        self,
        folder: Path,
        machine: Hardware,
        *,
        measure: Callable[[int], float | None] = measure_memory_speed,
    ) -> None:
        self._path = folder / FILE_NAME
        self._machine = [machine.cpu_name, machine.cpu_threads, machine.memory_total_bytes]
        self._threads = min(MOST_THREADS, machine.cpu_threads or 1)
        self._measure = measure
        self._measured = False
        data = read_json(self._path)
        same = data.get("version") == 1 and data.get("machine") == self._machine
        self._speeds = _numbers(data.get("memory_speeds")) if same else []

    @property
    def best(self) -> float | None:
        """The best that was measured; ``None`` before the first."""
        return max(self._speeds, default=None)

    def look(self) -> float | None:
        """Measure if there are few measurements yet, once per object. Takes a fifth of a second."""
        if not self._measured and len(self._speeds) < MEASUREMENTS:
            self._measured = True
            speed = self._measure(self._threads)
            if speed is not None:
                self._speeds.append(speed)
                data = {"version": 1, "machine": self._machine, "memory_speeds": self._speeds}
                write_json(self._path, data)
        return self.best


def _numbers(value: Any) -> list[float]:
    found = value if isinstance(value, list) else []
    return [n for n in found if isinstance(n, int | float) and not isinstance(n, bool) and n > 0]
