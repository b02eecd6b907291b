"""What loads took is remembered for this machine, and widens the margin of the next plans."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from local_ai_suite.demo import write_scripted_gguf
from local_ai_suite.engine.learning import FILE_NAME, FitMemory
from local_ai_suite.fit import FitPlan, FitRequest, plan
from local_ai_suite.gguf import read_gguf
from local_ai_suite.hardware import Hardware

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Service

MIB, GIB = 1 << 20, 1 << 30


@pytest.fixture
def planned(tmp_path: Path) -> FitPlan:
    path = write_scripted_gguf(tmp_path / "m.gguf")
    machine = Hardware(memory_total_bytes=8 * GIB, memory_available_bytes=6 * GIB)
    return plan(FitRequest(model=read_gguf(path), hardware=machine))


def taken(planned: FitPlan, *, more: int = 0) -> dict[tuple[str, str], int]:
    parts = planned.devices[0].parts
    return {
        ("CPU", "model"): parts.weights,
        ("CPU", "KV"): parts.kv_cache,
        ("CPU", "compute"): parts.compute + more,
    }


def test_a_load_that_took_more_is_remembered_over_restarts(
    tmp_path: Path, planned: FitPlan
) -> None:
    FitMemory(tmp_path).note("local-chat", planned, taken(planned, more=300 * MIB))
    again = FitMemory(tmp_path)
    assert again.learned == 300 * MIB
    parts = {part.part: part for part in again.loads()["local-chat"]}
    assert parts["compute"].difference == 300 * MIB
    assert parts["weights"].as_projected
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_a_load_as_projected_teaches_nothing_and_forgives(tmp_path: Path, planned: FitPlan) -> None:
    memory = FitMemory(tmp_path)
    memory.note("local-chat", planned, taken(planned, more=300 * MIB))
    memory.note("local-chat", planned, taken(planned))
    assert memory.learned == FitMemory(tmp_path).learned == 0


def test_an_engine_that_says_nothing_teaches_nothing(tmp_path: Path, planned: FitPlan) -> None:
    memory = FitMemory(tmp_path)
    memory.note("local-chat", planned, {})
    memory.note("local-chat", planned, {("CPU", "model"): 900 * MIB})  # cut off in the middle
    assert memory.loads() == {}
    assert not (tmp_path / FILE_NAME).exists()


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"version": 1, "taken": 3, "loads": {"a": [{"x": 1}], "b": []}}']
)
def test_a_damaged_file_is_begun_anew(tmp_path: Path, planned: FitPlan, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    memory = FitMemory(tmp_path)
    assert memory.learned == 0
    assert "a" not in memory.loads()
    memory.note("local-chat", planned, taken(planned))
    assert json.loads((tmp_path / FILE_NAME).read_text())["version"] == 1


def test_a_state_folder_that_cannot_be_written_costs_only_the_memory(
    tmp_path: Path, planned: FitPlan
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    memory = FitMemory(blocked)
    memory.note("local-chat", planned, taken(planned, more=300 * MIB))
    assert memory.learned == 300 * MIB


def test_a_real_engine_takes_what_was_projected(start: Callable[..., Service]) -> None:
    service = start()
    loaded = service.client.post("/models/load", json={"model": "local-chat"}).json()
    assert loaded["status"] == "ready"
    (parts,) = FitMemory(service.project / ".state").loads().values()
    assert {part.part for part in parts} == {"weights", "kv_cache", "compute"}
    assert all(part.as_projected for part in parts), parts
