"""The memory's speed is measured a few times, the best counts, and plans expect tokens by it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from local_ai_suite.engine.bandwidth import FILE_NAME, MEASUREMENTS, MemorySpeed
from local_ai_suite.hardware import Hardware, measure_memory_speed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from engine_service import Service

HERE = Hardware(cpu_name="a processor", cpu_threads=6, memory_total_bytes=16 << 30)


class Meter:
    """Gives these speeds, one after the other; remembers with how many threads it was asked."""

    def __init__(self, *speeds: float | None) -> None:
        self._speeds = list(speeds)
        self.threads: list[int] = []

    def __call__(self, threads: int) -> float | None:
        self.threads.append(threads)
        return self._speeds.pop(0)


def test_it_is_measured_once_per_service_a_few_times_in_all_and_the_best_counts(
    tmp_path: Path,
) -> None:
    meter = Meter(20e9, 35e9, 15e9)
    assert MemorySpeed(tmp_path, HERE, measure=meter).best is None
    seen = []
    for _ in range(MEASUREMENTS + 2):
        speed = MemorySpeed(tmp_path, HERE, measure=meter)
        seen.append(speed.look())
        assert speed.look() == seen[-1]
    assert seen == [20e9, 35e9, 35e9, 35e9, 35e9]
    assert meter.threads == [4, 4, 4]
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_another_machine_is_measured_anew(tmp_path: Path) -> None:
    MemorySpeed(tmp_path, HERE, measure=Meter(20e9)).look()
    other = Hardware(cpu_name="another", cpu_threads=2, memory_total_bytes=8 << 30)
    assert MemorySpeed(tmp_path, other, measure=Meter(9e9)).look() == 9e9


@pytest.mark.parametrize(
    "text", ["", "[]", '{"version": 1, "machine": 3}', '{"version": 1, "memory_speeds": [true]}']
)
def test_a_damaged_file_is_begun_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    assert MemorySpeed(tmp_path, HERE, measure=Meter(9e9)).look() == 9e9
    assert json.loads((tmp_path / FILE_NAME).read_text())["memory_speeds"] == [9e9]


def test_what_cannot_be_measured_or_kept_is_none_or_forgotten(tmp_path: Path) -> None:
    assert MemorySpeed(tmp_path, HERE, measure=Meter(None)).look() is None
    (tmp_path / "file").write_text("")
    assert MemorySpeed(tmp_path / "file", HERE, measure=Meter(9e9)).look() == 9e9


def test_a_machine_too_busy_to_measure_is_never_found_infinitely_slow() -> None:
    times = iter([0.0])
    speed = measure_memory_speed(2, clock=lambda: next(times, 60.0))  # a minute has gone by
    assert speed is not None
    assert speed > 0


def test_this_machines_memory_moves_more_than_a_disk_and_less_than_a_graphics_card() -> None:
    speed = measure_memory_speed(1)
    assert speed is not None
    assert 1e8 < speed < 1e12


def test_a_loaded_model_tells_expected_and_generated_tokens_per_second(
    start: Callable[..., Service],
) -> None:
    service = start(THREADS="1")  # two wait for each other at every operation
    body = {"model": "local-chat", "prompt": "one two", "n_predict": 40, "ignore_eos": True}
    assert service.client.post("/completion", json=body).status_code == 200
    row = service.running()
    expected = row["plan"]["tokens_per_second"]
    assert 0 < expected <= 1000, "a model of hardly any weights is not infinitely fast"
    service.client.post("/models/unload", json={"model": "local-chat"})
    told = service.meta()["tokens_per_second"]
    assert told["measured"] > 0
    assert told["expected"] == expected
    kept = json.loads((service.project / ".state" / "fit.json").read_text())["speeds"]
    assert kept["local-chat"][:2] == [expected, told["measured"]]
