"""What loads took is remembered for this machine, and widens the margin of the next plans."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local_ai_suite.demo import write_scripted_gguf
from local_ai_suite.engine.learning import FILE_NAME, FitMemory
from local_ai_suite.engine.pace import Speed
from local_ai_suite.fit import FitPlan, FitRequest, Record, correction, plan
from local_ai_suite.gguf import read_gguf
from local_ai_suite.hardware import Gpu, Hardware

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine_service import Service

FAKE = Path(__file__).parents[1] / "fakes" / "fake_llama_server.py"
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
    assert correction(again.record, "m.gguf") == 300 * MIB
    parts = {part.part: part for part in again.loads()["local-chat"]}
    assert parts["compute"].difference == 300 * MIB
    assert parts["weights"].as_projected
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_a_load_as_projected_teaches_nothing_and_forgives(tmp_path: Path, planned: FitPlan) -> None:
    memory = FitMemory(tmp_path)
    memory.note("local-chat", planned, taken(planned, more=300 * MIB))
    memory.note("local-chat", planned, taken(planned))
    assert correction(memory.record, "m.gguf") == 0
    assert memory.record == FitMemory(tmp_path).record


def test_a_device_that_was_not_planned_teaches_nothing(tmp_path: Path, planned: FitPlan) -> None:
    memory = FitMemory(tmp_path)
    memory.note("local-chat", planned, {**taken(planned), ("Vulkan0", "compute"): 300 * MIB})
    assert correction(memory.record, "m.gguf") == 0
    assert any(part.device == "Vulkan0" for part in memory.loads()["local-chat"]), "but is shown"


def test_an_engine_that_says_nothing_teaches_nothing(tmp_path: Path, planned: FitPlan) -> None:
    memory = FitMemory(tmp_path)
    memory.note("local-chat", planned, {})
    memory.note("local-chat", planned, {("CPU", "model"): 900 * MIB})  # cut off in the middle
    assert memory.loads() == {}
    assert not (tmp_path / FILE_NAME).exists()


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"version": 2, "lessons": 3, "loads": {"a": [{"x": 1}], "b": []}}']
)
def test_a_damaged_file_is_begun_anew(tmp_path: Path, planned: FitPlan, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    memory = FitMemory(tmp_path)
    assert memory.record == Record()
    assert "a" not in memory.loads()
    memory.note("local-chat", planned, taken(planned))
    assert json.loads((tmp_path / FILE_NAME).read_text())["version"] == 2


def test_a_state_folder_that_cannot_be_written_costs_only_the_memory(
    tmp_path: Path, planned: FitPlan
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    memory = FitMemory(blocked)
    memory.note("local-chat", planned, taken(planned, more=300 * MIB))
    assert correction(memory.record, "m.gguf") == 300 * MIB


def test_a_full_disk_leaves_no_half_written_file(
    tmp_path: Path, planned: FitPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = FitMemory(tmp_path)
    memory.note("local-chat", planned, taken(planned))
    before = (tmp_path / FILE_NAME).read_text()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for broken in (("json.dump",), ("pathlib.Path.replace",)):
        with monkeypatch.context() as patch:
            patch.setattr(*broken, full)
            memory.note("local-chat", planned, taken(planned, more=300 * MIB))
        left = {path.name for path in tmp_path.iterdir()}
        assert left == {FILE_NAME, "m.gguf"}
        assert (tmp_path / FILE_NAME).read_text() == before


def test_each_models_last_speed_is_remembered(tmp_path: Path) -> None:
    memory = FitMemory(tmp_path)
    memory.note_speed("local-chat", Speed(40.0, 35.5, 3))
    memory.note_speed("local-code", Speed(None, 12, 0))
    assert FitMemory(tmp_path).speeds() == {
        "local-chat": Speed(40.0, 35.5, 3),
        "local-code": Speed(None, 12, 0),
    }
    (tmp_path / FILE_NAME).write_text('{"version": 2, "speeds": {"a": [1], "b": ["x", 1]}}')
    assert FitMemory(tmp_path).speeds() == {}


def test_a_real_engine_takes_what_was_projected(start: Callable[..., Service]) -> None:
    service = start()
    loaded = service.client.post("/models/load", json={"model": "local-chat"}).json()
    assert loaded["status"] == "ready"
    assert loaded["cpu_features"], "what the binary makes of this processor"
    (parts,) = FitMemory(service.project / ".state").loads().values()
    assert {part.part for part in parts} == {"weights", "kv_cache", "compute"}
    assert all(part.as_projected for part in parts), parts


NVIDIA_SMI = """#!/bin/sh
free=5790
[ -e {marker} ] && free=4690
echo "0, NVIDIA GeForce RTX 4050 Laptop GPU, 6140, $free, 550.1, GPU-1, 8.9"
"""


@pytest.fixture
def with_gpu(start: Callable[..., Service], tmp_path: Path) -> Callable[[], Service]:
    """A service on a machine with a card of 6 GB; while its one engine runs, 1,100 MiB of it are
    taken, of which the engine's log names next to nothing."""
    project, marker = tmp_path / "gpu", tmp_path / "runs"
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "nvidia-smi").write_text(NVIDIA_SMI.format(marker=marker))
    (tools / "nvidia-smi").chmod(0o755)
    model = write_scripted_gguf(project / "models" / "m.gguf")
    layers = plan_on_gpu(model).n_gpu_layers
    lines = [f"--marker {marker} --offloaded {layers}/{layers}"]
    lines += [
        f"--log-line 'load_tensors: CUDA0 {part} buffer size = 1.00 MiB'"
        for part in ("model", "KV", "compute")
    ]
    (project / "models" / "m.gguf.fake").write_text(" ".join(lines))

    def begin() -> Service:
        return start(
            project, LLAMA_SERVER=str(FAKE), CHAT_MODEL="m.gguf",
            FAKE_DEVICES="  CUDA0: NVIDIA GeForce RTX 4050 Laptop GPU (6140 MiB, 5790 MiB free)",
            PATH=f"{tools}{os.pathsep}{os.environ['PATH']}",
        )  # fmt: skip

    return begin


def plan_on_gpu(model: Path) -> FitPlan:
    card = Gpu(0, "NVIDIA GeForce RTX 4050 Laptop GPU", 6140 * MIB, 5790 * MIB)
    machine = Hardware((card,), 8 * GIB, 6 * GIB)
    found = plan(FitRequest(model=read_gguf(model), hardware=machine))
    assert found.uses_gpu
    return found


def test_what_no_log_names_is_seen_in_the_cards_free_memory_and_corrects_the_margin(
    with_gpu: Callable[[], Service],
) -> None:
    service = with_gpu()
    assert service.client.get("/running").json()["learned_bytes"] == 0
    assert service.chat().status_code == 200
    row = service.running()
    assert row["plan"]["n_gpu_layers"] > 0
    beyond = 1100 * MIB - row["projected_bytes"]["CUDA0"]
    assert beyond > 16 * MIB
    until(lambda: service.client.get("/running").json()["learned_bytes"] == beyond)
    service.stop()
    again = with_gpu()
    assert again.client.get("/running").json()["learned_bytes"] == beyond
    assert again.chat().status_code == 200
    assert again.running()["deviations"] == []


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)
