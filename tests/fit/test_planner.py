"""What the planner chooses on which machine, and what it keeps whatever happens."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from fit_machines import GIB, MIB, machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fit_models import MODELS, siglip
from local_ai_suite.errors import FitError
from local_ai_suite.fit import (
    FitPlan,
    FitRequest,
    find_gpu,
    free_for_engine,
    imagined,
    model_shape,
    plan,
)
from local_ai_suite.gguf import GgufFile, read_gguf
from local_ai_suite.hardware import Gpu

if TYPE_CHECKING:
    from pathlib import Path

    from local_ai_suite.hardware import Hardware

Files = dict[str, GgufFile]


def planned(model: GgufFile, hardware: Hardware, **more: Any) -> FitPlan:
    return plan(FitRequest(model=model, hardware=hardware, **more))


class TestChoices:
    def test_a_3b_model_lies_wholly_on_6_gb_with_its_whole_context(self, files: Files) -> None:
        found = planned(files["3b"], machine(6))
        assert found.fits
        assert found.n_gpu_layers == found.gpu_layers_max == 37
        assert (found.ctx_size, found.cache_type_k) == (32_768, "f16")
        assert "All 37 layers fit" in found.reasons[0]

    def test_room_is_left_for_a_second_model_before_slots_are_added(self, files: Files) -> None:
        assert planned(files["3b"], machine(6)).parallel == 1
        assert planned(files["3b"], machine(24)).parallel == 4

    def test_an_8b_model_on_6_gb_takes_a_smaller_cache_before_it_leaves_the_gpu(
        self, files: Files
    ) -> None:
        found = planned(files["8b"], machine(6))
        assert found.fits
        assert found.n_gpu_layers == 33
        assert found.cache_type_k == found.cache_type_v == "q8_0"
        assert found.flash_attention == "on"
        assert 4096 <= found.ctx_size < 16_384
        assert any("as much as fits" in reason for reason in found.reasons)

    def test_an_8b_model_on_4_gb_leaves_some_layers_on_the_cpu(self, files: Files) -> None:
        found = planned(files["8b"], machine(4))
        assert found.fits
        assert 0 < found.n_gpu_layers < 33
        assert found.ctx_size >= 8192
        assert found.devices[1].parts.weights > 500 * MIB

    def test_experts_leave_the_gpu_first(self, files: Files) -> None:
        found = planned(files["moe"], machine(8, memory=32))
        assert found.fits
        assert found.n_gpu_layers == found.gpu_layers_max
        assert 0 < found.n_cpu_moe < 48
        assert found.devices[1].parts.weights > 8 * GIB
        assert any("system memory" in reason for reason in found.reasons)

    def test_without_a_gpu_it_runs_on_the_cpu_and_the_cache_is_modest(self, files: Files) -> None:
        found = planned(files["3b"], machine(memory=8))
        assert found.fits
        assert (found.n_gpu_layers, [d.name for d in found.devices]) == (0, ["CPU"])
        free = found.devices[0].free_bytes or 0
        assert found.devices[0].parts.kv_cache <= free / 4
        assert "no GPU was found" in found.reasons[0]
        roomy = planned(files["3b"], machine(memory=64))
        assert roomy.ctx_size == 32_768

    def test_two_cards_share_the_layers(self, files: Files) -> None:
        found = planned(files["8b"], machine(4, cards=2))
        assert found.n_gpu_layers == 33
        first, second = (d.parts.weights for d in found.devices[:2])
        assert abs(first - second) < 0.5 * GIB

    def test_a_tiny_gpu_is_left_alone(self, files: Files) -> None:
        found = planned(files["8b"], machine(1, free=0.3))
        assert found.fits
        assert found.n_gpu_layers == 0
        assert "not even one layer" in found.reasons[0]

    def test_an_engine_without_gpu_support_is_planned_for_the_cpu(self, files: Files) -> None:
        found = planned(files["3b"], machine(6), engine_has_gpu=False)
        assert found.n_gpu_layers == 0
        assert "engine found has no GPU support" in found.reasons[0]
        assert "lais engine build" in found.warnings[0]

    def test_hidden_gpus_are_not_used(self, files: Files) -> None:
        found = planned(files["3b"], machine(6), cuda_visible_devices="")
        assert found.n_gpu_layers == 0
        assert "CUDA_VISIBLE_DEVICES" in found.reasons[0]

    def test_unknown_free_memory_is_no_reason_to_hope(self, files: Files) -> None:
        blind = replace(machine(6), gpus=(Gpu(0, "GRID", None, None),))
        found = planned(files["3b"], blind)
        assert found.n_gpu_layers == 0
        assert "unknown" in found.reasons[0]
        forced = planned(files["3b"], blind, n_gpu_layers=37)
        assert not forced.fits
        assert "unknown" in forced.warnings[0]

    def test_a_model_larger_than_the_machine_does_not_fit_and_says_what_is_missing(
        self, files: Files
    ) -> None:
        found = planned(files["moe"], machine(6, memory=8))
        assert not found.fits
        assert "are needed" in found.warnings[-1]

    @pytest.mark.parametrize(
        ("sizes", "measured"),
        # MiB of compute that the engine's log named for these (`reserve_compute_meta`).
        [({}, 121.25), ({"image": 448}, 44.94),
         ({"width": 768, "hidden": 3072, "heads": 12}, 84.0)],
    )  # fmt: skip
    def test_a_projector_counts_on_the_gpu(
        self, files: Files, tmp_path: Path, sizes: dict[str, int], measured: float
    ) -> None:
        file = read_gguf(siglip(**sizes).write(tmp_path / "mmproj.gguf"))
        found = planned(files["3b"], machine(6), projector=file)
        compute = (found.devices[0].parts.projector - file.tensor_bytes) / MIB
        assert abs(compute - measured) <= 16
        assert found.devices[-1].parts.projector == 0
        alone = planned(files["3b"], machine(), projector=file)
        assert alone.devices[0].parts.projector == found.devices[0].parts.projector

    def test_an_embedding_model_reads_a_whole_text_in_one_batch(self, tmp_path: Path) -> None:
        file = read_gguf(MODELS["bert"]().write(tmp_path / "b.gguf"))
        found = planned(file, machine(6), purpose="embed")
        assert found.embedding
        assert found.ctx_size == found.ubatch_size == found.batch_size == 512
        wide = read_gguf(MODELS["qwen3-embedding"]().write(tmp_path / "q.gguf"))
        found = planned(wide, machine(6))
        assert found.embedding
        assert found.ubatch_size == found.ctx_size == 2048

    def test_a_projector_or_an_adapter_cannot_be_planned(self, tmp_path: Path) -> None:
        model = MODELS["bert"]()
        model.architecture = "clip"
        with pytest.raises(FitError, match="describes no layers"):
            planned(read_gguf(model.write(tmp_path / "p.gguf")), machine())


class TestExplicitSettingsBeatThePlan:
    def test_layers_and_context_are_kept(self, files: Files) -> None:
        # The specification's own for an RTX 4050 with a 3B model.
        found = planned(files["3b"], machine(6), n_gpu_layers=35, ctx_size=1024)
        assert (found.n_gpu_layers, found.ctx_size, found.fits) == (35, 1024, True)
        assert any("set explicitly" in reason for reason in found.reasons)

    def test_what_does_not_fit_is_kept_and_said(self, files: Files) -> None:
        found = planned(files["8b"], machine(4), n_gpu_layers=33, ctx_size=32_768)
        assert (found.n_gpu_layers, found.ctx_size, found.fits) == (33, 32_768, False)
        assert "CUDA0" in found.warnings[0]

    def test_zero_layers_is_the_cpu(self, files: Files) -> None:
        found = planned(files["3b"], machine(6), n_gpu_layers=0)
        assert found.n_gpu_layers == 0
        assert "N_GPU_LAYERS is 0" in found.reasons[0]

    def test_layers_without_a_gpu_are_said(self, files: Files) -> None:
        found = planned(files["3b"], machine(), n_gpu_layers=35)
        assert found.n_gpu_layers == 0
        assert "no GPU was found" in found.reasons[0]
        assert "N_GPU_LAYERS is 35" in found.warnings[0]

    def test_cache_types_slots_and_threads_are_kept(self, files: Files) -> None:
        found = planned(
            files["3b"], machine(6), cache_type_k="q4_0", cache_type_v="f16", parallel=3, threads=2
        )
        assert (found.cache_type_k, found.cache_type_v) == ("q4_0", "f16")
        assert (found.parallel, found.n_ctx) == (3, 3 * found.ctx_size)
        assert found.threads == 2

    def test_without_flash_attention_the_v_cache_stays_plain(self, files: Files) -> None:
        found = planned(files["8b"], machine(6), flash_attention=False)
        assert found.flash_attention == "off"
        assert found.cache_type_v == "f16"

    def test_more_context_than_trained_is_not_given_by_the_engine_and_that_is_said(
        self, files: Files
    ) -> None:
        found = planned(files["3b"], machine(24), ctx_size=65_536)
        assert found.ctx_size == 32_768
        assert any("what the model was trained for" in reason for reason in found.reasons)
        assert "gives no more than the 32768 tokens" in found.warnings[0]

    def test_all_layers_are_as_many_as_there_are(self, files: Files) -> None:
        assert planned(files["3b"], machine(6), n_gpu_layers=999).n_gpu_layers == 37


def test_what_others_take_and_what_was_learned_narrow_the_plan(files: Files) -> None:
    free = planned(files["8b"], machine(8))
    taken = planned(files["8b"], machine(8), taken_gpu=(2 * GIB,))
    learned = planned(files["8b"], machine(8), learned=GIB)
    assert taken.gpu_bytes < free.gpu_bytes - GIB
    assert learned.gpu_bytes < free.gpu_bytes - 0.5 * GIB
    assert any("learned" in reason for reason in learned.reasons)


def test_speed_and_loading_are_expected_only_from_known_figures(files: Files) -> None:
    unknown = planned(files["3b"], machine())
    assert unknown.tokens_per_second is None
    assert unknown.load_seconds is None
    assert planned(files["3b"], machine(), memory_speed=0.0).tokens_per_second is None
    known = planned(files["3b"], machine(), memory_speed=40e9, disk_speed=1e9)
    assert known.tokens_per_second
    assert 5 < known.tokens_per_second < 25  # 1.7 GB per token at 70 % of 40 GB/s, and the cache
    assert known.load_seconds
    assert 2 < known.load_seconds < 4
    on_gpu = planned(files["3b"], machine(6), memory_speed=40e9)
    assert (on_gpu.tokens_per_second or 0) > 2 * known.tokens_per_second


def test_a_mixture_of_experts_is_read_only_in_part(files: Files) -> None:
    big = machine(memory=64)
    moe = planned(files["moe"], big, memory_speed=40e9).tokens_per_second or 0
    dense = planned(files["8b"], big, memory_speed=40e9).tokens_per_second or 0
    assert moe > 1.5 * dense  # 30B parameters, 3B of them active


def test_the_plan_is_json(files: Files) -> None:
    data = planned(files["3b"], machine(6)).as_dict()
    assert data["devices"][0]["parts"]["total"] > 0
    assert data["path"].endswith("3b.gguf")


@pytest.mark.parametrize(
    ("name", "card", "gib"),
    [
        ("NVIDIA GeForce RTX 4050 Laptop GPU", "RTX 4050 Laptop", 6),
        ("rtx 4050", "RTX 4050", 6),
        ("RTX4060", "RTX 4060", 8),
        ("NVIDIA GeForce RTX 4060 Ti", "RTX 4060 Ti", 8),
        ("4060ti 16 GB rtx", "RTX 4060 Ti 16GB", 16),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB", 80),
        ("Tesla T4", "Tesla T4", 16),
    ],
)
def test_cards_are_known_by_their_names(name: str, card: str, gib: int) -> None:
    found = find_gpu(name)
    assert found
    assert (found.name, found.memory_bytes) == (card, gib * GIB)


def test_a_card_that_is_not_here_has_what_windows_leaves(files: Files) -> None:
    hardware = imagined(machine(), vram_bytes=None, gpu_name="rtx 4050")
    assert hardware.gpus[0].free_bytes == 5072 * MIB
    (why,) = (text for text in planned(files["8b"], hardware).reasons if "Windows" in text)
    assert "5,072 MiB of 6,144 MiB" in why
    assert imagined(machine(), vram_bytes=512 * MIB, gpu_name=None).gpus[0].free_bytes == 0


def test_what_is_free_on_a_card_is_the_smaller_word_and_a_missing_one_costs_a_gib_in_wsl(
    files: Files,
) -> None:
    linux = machine(6, free=6)
    wsl = replace(linux, is_wsl=True)
    seen = {"CUDA0": 5072 * MIB}
    for hardware in (linux, wsl):
        card = free_for_engine(hardware, seen, None).gpus[0]
        assert (card.free_bytes, card.hidden_bytes) == (5072 * MIB, 1072 * MIB)
    assert free_for_engine(linux, {}, None) == linux
    assert free_for_engine(linux, {"CUDA0": 7 * GIB}, None) == linux
    assumed = free_for_engine(wsl, {}, None)
    assert assumed.gpus[0].free_bytes == 5 * GIB
    assert free_for_engine(assumed, {}, None) == assumed
    for hardware, word in ((assumed, "does not show"), (free_for_engine(wsl, seen, None), "sees")):
        assert any(word in text for text in planned(files["3b"], hardware).reasons)


def test_the_engine_counts_only_the_cards_that_are_visible() -> None:
    two = machine(6, free=6, cards=2)
    first, second = free_for_engine(two, {"CUDA0": GIB}, "1").gpus
    assert (first.free_bytes, second.free_bytes) == (6 * GIB, GIB)


def test_an_8b_model_is_not_planned_over_a_6_gb_card_in_wsl(files: Files) -> None:
    wsl = replace(machine(6, free=6), is_wsl=True)
    for seen in ({}, {"CUDA0": 5072 * MIB}):
        found = planned(files["8b"], free_for_engine(wsl, seen, None))
        assert found.fits
        assert found.gpu_bytes <= (5120 if not seen else 5072) * MIB


def test_an_unknown_card_is_unknown() -> None:
    assert find_gpu("Voodoo 2") is None
    with pytest.raises(ValueError, match="Voodoo"):
        imagined(machine(), vram_bytes=None, gpu_name="Voodoo 2")
    assert imagined(machine(), vram_bytes=GIB, gpu_name="Voodoo 2").gpus[0].total_bytes == GIB


RANDOM = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
REQUESTS = {
    "ctx_size": st.none() | st.integers(1, 200_000),
    "n_gpu_layers": st.none() | st.integers(0, 60),
    "parallel": st.none() | st.integers(1, 8),
    "n_cpu_moe": st.none() | st.integers(0, 60),
    "cache_type_k": st.sampled_from([None, "f16", "q8_0", "q4_0", "f32"]),
    "flash_attention": st.sampled_from([None, True, False]),
    "learned": st.integers(0, GIB),
}


@RANDOM
@given(
    name=st.sampled_from(["3b", "8b", "moe"]),
    vram=st.none() | st.floats(0.5, 48),
    memory=st.floats(1, 128),
    cards=st.integers(1, 3),
    more=st.fixed_dictionaries({}, optional=REQUESTS),
)
def test_a_plan_that_fits_does_fit_and_keeps_what_was_set(
    files: Files, name: str, vram: float | None, memory: float, cards: int, more: dict[str, Any]
) -> None:
    found = planned(files[name], machine(vram, free=vram, memory=memory, cards=cards), **more)
    for device in found.devices:
        room = (device.free_bytes or 0) - device.margin_bytes
        if found.fits:
            assert device.parts.total <= room
    assert found.fits or found.warnings
    if not found.fits:
        assert any(device.parts.total > (device.free_bytes or 0) - device.margin_bytes
                   for device in found.devices)  # fmt: skip
    if more.get("ctx_size"):
        given = min(more["ctx_size"], found.trained_context or more["ctx_size"])
        assert 0 <= found.ctx_size - given < 256
    if more.get("parallel"):
        assert found.parallel == more["parallel"]
    if vram and more.get("n_gpu_layers") is not None:
        assert found.n_gpu_layers == min(more["n_gpu_layers"], found.gpu_layers_max)
    if more.get("cache_type_k"):
        assert found.cache_type_k == more["cache_type_k"]
    # Whatever the placement, the weights are all somewhere.
    shape = model_shape(files[name])
    weights = sum(device.parts.weights for device in found.devices)
    doubled = shape.tied_bytes if found.n_gpu_layers else 0
    assert weights == shape.weight_bytes + doubled


@RANDOM
@given(name=st.sampled_from(["3b", "8b", "moe"]), vram=st.floats(2, 30), more=st.floats(0, 10))
def test_more_graphics_memory_never_makes_a_plan_worse(
    files: Files, name: str, vram: float, more: float
) -> None:
    small = planned(files[name], machine(vram, memory=64))
    large = planned(files[name], machine(vram + more, memory=64))
    assert small.fits <= large.fits
    assert small.n_gpu_layers <= large.n_gpu_layers
    same = small.n_gpu_layers == large.n_gpu_layers
    if same and small.cache_type_k == large.cache_type_k:  # F16 is worth some experts' room
        assert small.n_cpu_moe >= large.n_cpu_moe
