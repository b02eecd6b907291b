"""A card that has less room than was planned with: the load is tried smaller, down to the CPU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fit_models import llama, qwen2
from local_ai_suite.demo import write_scripted_gguf
from local_ai_suite.engine.ladder import MOST_ATTEMPTS
from local_ai_suite.engine.readback import LogFacts
from local_ai_suite.fit import (
    FitPlan,
    FitRequest,
    PartComparison,
    Record,
    correction,
    learn,
    learn_short,
    plan,
)
from local_ai_suite.gguf import GgufFile, read_gguf
from local_ai_suite.hardware import Gpu, Hardware

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine_service import Service

FAKE = Path(__file__).parents[1] / "fakes" / "fake_llama_server.py"
MIB, GIB = 1 << 20, 1 << 30
NVIDIA_SMI = """#!/bin/sh
echo "0, NVIDIA GeForce RTX 4050 Laptop GPU, 6140, 5790, 550.1, GPU-1, 8.9"
"""


def on_a_card(model: GgufFile, record: Record, *, free: int) -> FitPlan:
    card = Gpu(0, "NVIDIA GeForce RTX 4050 Laptop GPU", 6144 * MIB, free * MIB)
    machine = Hardware((card,), 32 * GIB, 24 * GIB)
    learned = correction(record, model.path.name)
    return plan(FitRequest(model=model, hardware=machine, margin_gpu=0, learned=learned))


def loads(model: GgufFile, *, told: int, real: int) -> list[FitPlan]:
    """The plans that are tried on a card of which ``told`` MiB are said to be free and ``real``
    are; the last is the one that runs."""
    record, plans = Record(), [on_a_card(model, Record(), free=told)]
    while plans[-1].uses_gpu and plans[-1].gpu_bytes > real * MIB:
        # Refused at the last buffer: all of it was asked for, but for the runtime's own.
        attempted = {"CUDA0": plans[-1].gpu_bytes - plans[-1].devices[0].parts.overhead}
        last = len(plans) >= MOST_ATTEMPTS
        record = learn_short(record, model.path.name, plans[-1], attempted, last=last)
        plans.append(on_a_card(model, record, free=told))
    return plans


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, GgufFile]:
    folder = tmp_path_factory.mktemp("models")
    made = {"3b": qwen2(36), "8b": llama(32)}
    return {name: read_gguf(model.write(folder / f"{name}.gguf")) for name, model in made.items()}


@pytest.mark.parametrize("name", ["3b", "8b"])
@pytest.mark.parametrize("real", [5072, 4500, 3000, 1500, 500, 0])
def test_each_attempt_is_smaller_and_the_last_one_runs(
    models: dict[str, GgufFile], name: str, real: int
) -> None:
    plans = loads(models[name], told=6140, real=real)
    assert len(plans) <= MOST_ATTEMPTS + 1
    assert plans[-1].fits
    assert plans[-1].gpu_bytes <= real * MIB
    sizes = [found.gpu_bytes for found in plans]
    assert sizes == sorted(set(sizes), reverse=True)
    layers = [found.n_gpu_layers for found in plans]
    assert layers == sorted(layers, reverse=True)


def test_what_windows_hides_of_a_6_gb_card_costs_two_attempts_at_most(
    models: dict[str, GgufFile],
) -> None:
    found = loads(models["8b"], told=6140, real=5072)
    assert 1 < len(found) <= 3
    assert found[-1].uses_gpu


def test_a_smaller_load_that_worked_does_not_forget_what_was_refused(
    models: dict[str, GgufFile],
) -> None:
    first = on_a_card(models["8b"], Record(), free=6140)
    attempted = {"CUDA0": 5500 * MIB}
    record = learn_short(Record(), "8b.gguf", first, attempted, last=False)
    refused = correction(record, "8b.gguf")
    assert refused > 0
    record = learn(record, "8b.gguf", [PartComparison("CUDA0", "compute", 100 * MIB, 100 * MIB)])
    assert correction(record, "8b.gguf") == refused
    more = [PartComparison("CUDA0", "compute", 100 * MIB, 100 * MIB + refused + MIB)]
    assert correction(learn(record, "8b.gguf", more), "8b.gguf") == refused + MIB
    assert correction(Record.from_dict(record.as_dict()), "8b.gguf") == refused
    assert correction(record, "other.gguf") == 0, "one model says nothing about another"


def test_what_was_refused_is_read_from_the_log_of_cuda() -> None:
    facts = LogFacts()
    facts.read("0.1 I load_tensors:        CUDA0 model buffer size =  4096.00 MiB")
    assert facts.attempted() == {}
    asked = "allocating 512.00 MiB on device 0: cudaMalloc failed: out of memory"
    facts.read(f"0.2 E ggml_backend_cuda_buffer_type_alloc_buffer: {asked}")
    assert facts.attempted() == {"CUDA0": 4608 * MIB}


@pytest.fixture
def with_full_card(start: Callable[..., Service], tmp_path: Path) -> Callable[..., Service]:
    """A service whose card is said to have room, and has none."""
    project, tools = tmp_path / "gpu", tmp_path / "tools"
    tools.mkdir()
    (tools / "nvidia-smi").write_text(NVIDIA_SMI)
    (tools / "nvidia-smi").chmod(0o755)
    write_scripted_gguf(project / "models" / "m.gguf")
    (project / "models" / "m.gguf.fake").write_text("--card-full")

    def begin(**more: str) -> Service:
        return start(
            project, LLAMA_SERVER=str(FAKE), CHAT_MODEL="m.gguf",
            FAKE_DEVICES="  CUDA0: NVIDIA GeForce RTX 4050 Laptop GPU (6140 MiB, 5790 MiB free)",
            PATH=f"{tools}{os.pathsep}{os.environ['PATH']}", **more,
        )  # fmt: skip

    return begin


def test_a_request_is_answered_although_the_card_is_full_and_the_next_start_knows(
    with_full_card: Callable[..., Service],
) -> None:
    service = with_full_card()
    assert service.chat().status_code == 200, "the one who asked waited, and was served"
    row = service.running()
    assert row["plan"]["n_gpu_layers"] == 0
    (said,) = row["deviations"]
    assert "the card had no room for" in said
    assert "the CPU" in said
    service.stop()
    again = with_full_card()
    assert again.chat().status_code == 200
    assert again.running()["plan"]["n_gpu_layers"] == 0
    (told,) = again.running()["deviations"]
    assert "the card is not used: an earlier load found no room there" in told, "not tried again"
    again.stop()
    on_purpose = with_full_card(N_GPU_LAYERS="0")
    assert on_purpose.chat().status_code == 200
    assert on_purpose.running()["deviations"] == [], "that is as wanted"


def test_layers_that_were_set_are_kept_and_the_error_names_the_settings(
    with_full_card: Callable[..., Service],
) -> None:
    service = with_full_card(N_GPU_LAYERS="1")
    answer = service.chat()
    assert answer.status_code == 503
    assert "out of memory" in answer.text
    assert "CTX_SIZE" in answer.text
    assert "N_GPU_LAYERS" in answer.text
