"""Weights on the CPU, and batches that are multiplied with them on the card (op-offload)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fit_machines import GIB, MIB

from fit_models import MODELS, Model, transformer
from local_ai_suite.fit import model_shape
from local_ai_suite.fit.machine import Device
from local_ai_suite.fit.memory import Load
from local_ai_suite.fit.projection import project
from local_ai_suite.gguf import read_gguf

if TYPE_CHECKING:
    from pathlib import Path

CPU = Device("CPU", "cpu", "", None, None, 0, 0, None)
CARDS = tuple(Device(f"CUDA{n}", "gpu", "", 6 * GIB, 6 * GIB, 0, 0, None) for n in range(2))


def mixtral() -> Model:
    """Two layers of Mixtral-8x7B."""
    keys = {"feed_forward_length": 14_336, "expert_count": 8, "expert_used_count": 2}
    model = transformer(
        "llama", layers=2, width=4096, heads=32, heads_kv=8, feed_forward=0, weight_type="Q4_K",
        keys={"rope.dimension_count": 128, **keys},
    )  # fmt: skip
    for layer in range(model.layers):
        model.add(f"blk.{layer}.ffn_norm.weight", model.width)
        model.experts(layer, 8, 14_336)
    return model


def compute(
    folder: Path, name: str, *, half: bool, cards: int = 1, **more: int | bool
) -> dict[str, float]:
    """Projected compute buffers in MiB, by device: half of the layers on the card, or all of them
    without their experts."""
    path = folder / f"{name}.gguf"
    if not path.exists():
        (mixtral() if name == "mixtral" else MODELS[name]()).write(path)
    shape = model_shape(read_gguf(path))
    layers = len(shape.layers)
    placed = {"n_gpu_layers": layers // 2} if half else {
        "n_gpu_layers": layers + 1, "n_cpu_moe": layers
    }  # fmt: skip
    load = Load(**{"ctx_size": 4096, **placed, **more})  # type: ignore[arg-type]
    found = project(shape, load, CARDS[:cards], CPU)
    return {device.name: device.parts.compute / MIB for device in found}


# What llama.cpp logged for these shapes with a Vulkan engine (ggml 0.20, 4,096 tokens, batches of
# 512), in MiB: the card's compute buffer and the CPU's.
LOGGED = [
    ("qwen3moe", False, 268, 12), ("qwen3moe", True, 272, 12),
    ("gpt-oss", False, 205, 16), ("gpt-oss", True, 212, 16),
    ("mixtral", False, 384, 20), ("mixtral", True, 401, 20),
    ("llama", True, 139, 20), ("gemma3", True, 99, 15),
]  # fmt: skip


@pytest.mark.parametrize(("name", "half", "card", "host"), LOGGED)
def test_the_copies_on_the_card_are_projected_as_the_engine_logged_them(
    tmp_path: Path, name: str, half: bool, card: int, host: int
) -> None:
    found = compute(tmp_path, name, half=half)
    for device, logged in (("CUDA0", card), ("CPU", host)):
        assert abs(found[device] - logged) <= max(16, 0.05 * logged), found


def test_a_small_batch_is_not_worth_a_copy(tmp_path: Path) -> None:
    small = compute(tmp_path, "qwen3moe", half=False, ubatch_size=31)
    large = compute(tmp_path, "qwen3moe", half=False, ubatch_size=32)
    assert large["CUDA0"] - small["CUDA0"] > 150
    assert small["CPU"] >= large["CPU"], "then the CPU multiplies, and needs the room"


def test_the_first_of_several_cards_has_the_copies(tmp_path: Path) -> None:
    one = compute(tmp_path, "qwen3moe", half=True)
    two = compute(tmp_path, "qwen3moe", half=True, cards=2)
    assert two["CUDA0"] == one["CUDA0"]
    assert two["CUDA1"] < 100


def test_scores_of_layers_on_the_cpu_are_counted_there_without_flash_attention(
    tmp_path: Path,
) -> None:
    flash = compute(tmp_path, "llama", half=True)
    plain = compute(tmp_path, "llama", half=True, flash_attention=False)
    assert plain["CPU"] - flash["CPU"] > 4096 * 512 * 32 * 4 / MIB
