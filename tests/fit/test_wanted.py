"""The question the other way round, the comparison after loading, the text."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fit_machines import MIB, machine
from hypothesis import given
from hypothesis import strategies as st

from local_ai_suite.fit import (
    FitRequest,
    Lesson,
    PartComparison,
    Record,
    compare,
    correction,
    learn,
    learn_free,
    options,
    options_text,
    plan,
    plan_text,
)
from local_ai_suite.fit.text import bar

if TYPE_CHECKING:
    from local_ai_suite.gguf import GgufFile

Files = dict[str, "GgufFile"]


class TestWanted:
    def test_more_context_on_a_small_card_costs_speed_or_precision(self, files: Files) -> None:
        request = FitRequest(model=files["8b"], hardware=machine(6), memory_speed=40e9)
        found = options(request, 32_768)
        assert len(found) >= 2
        assert all(option.plan.fits and option.plan.ctx_size == 32_768 for option in found)
        speeds = [option.plan.tokens_per_second or 0 for option in found]
        assert speeds == sorted(speeds, reverse=True)
        assert all(option.price is not None and option.price > 0 for option in found)
        text = options_text(found, 32_768)
        assert "slower than without the wish" in text
        assert "layers on the GPU" in text

    def test_what_fits_anyway_has_no_price(self, files: Files) -> None:
        request = FitRequest(model=files["3b"], hardware=machine(12))
        found = options(request, 32_768)
        assert found[0].price == pytest.approx(0, abs=0.3)
        assert "everything on the GPU" in found[0].words

    def test_explicit_settings_are_kept(self, files: Files) -> None:
        request = FitRequest(model=files["8b"], hardware=machine(6), cache_type_k="f16")
        assert {option.plan.cache_type_k for option in options(request, 16_384)} == {"f16"}

    def test_what_is_impossible_is_said(self, files: Files) -> None:
        request = FitRequest(model=files["8b"], hardware=machine(memory=4))
        assert options(request, 131_072) == ()
        assert "No way" in options_text((), 131_072)


class TestAfterLoading:
    def test_each_part_is_held_against_the_log(self, files: Files) -> None:
        found = plan(FitRequest(model=files["3b"], hardware=machine(6)))
        gpu, cpu = found.devices
        log = {
            ("CUDA0", "model"): gpu.parts.weights,
            ("CUDA0", "KV"): gpu.parts.kv_cache - 100 * MIB,
            ("CUDA0", "RS"): 100 * MIB,
            ("CUDA0", "compute"): gpu.parts.compute + 300 * MIB,
            ("CPU", "model"): cpu.parts.weights + MIB,
            ("CPU", "output"): MIB,
        }
        rows = {(row.device, row.part): row for row in compare(found, log)}
        assert rows["CUDA0", "weights"].as_projected
        assert rows["CUDA0", "kv_cache"].difference == 0
        assert rows["CUDA0", "compute"].difference == 300 * MIB
        assert not rows["CUDA0", "compute"].as_projected
        assert ("CPU", "weights") not in rows  # a span of the file, not what is used of it
        assert rows["CPU", "compute"].actual == 0

    def test_a_device_that_was_not_planned_shows_up(self, files: Files) -> None:
        found = plan(FitRequest(model=files["3b"], hardware=machine()))
        rows = compare(found, {("CUDA0", "model"): 5 * MIB})
        assert [(r.device, r.projected, r.actual) for r in rows if r.device == "CUDA0"] == [
            ("CUDA0", 0, 5 * MIB)
        ]

    def test_what_a_load_took_more_widens_the_margin_of_its_own_model(self, files: Files) -> None:
        found = plan(FitRequest(model=files["3b"], hardware=machine(6)))
        gpu = found.devices[0].parts
        over = {("CUDA0", "model"): gpu.weights, ("CUDA0", "KV"): gpu.kv_cache,
                ("CUDA0", "compute"): gpu.compute + 200 * MIB}  # fmt: skip
        record = learn(Record(), "3b", compare(found, over))
        assert correction(record, "3b") == 200 * MIB
        assert correction(record, "8b") == 0, "one model says nothing about another"
        exact = {**over, ("CUDA0", "compute"): gpu.compute}
        assert correction(learn(record, "8b", compare(found, exact)), "3b") == 200 * MIB
        assert correction(learn(record, "3b", compare(found, exact)), "3b") == 0

    def test_one_bad_projection_of_a_model_that_is_gone_is_forgotten(self) -> None:
        record = learn(Record(), "gone", [PartComparison("CPU", "compute", MIB, 1501 * MIB)])
        assert correction(record, "gone") == 1500 * MIB
        good = [PartComparison("CPU", "compute", MIB, MIB)]
        for number in range(1500):
            record = learn(record, f"model-{number % 3}", good)
            assert correction(record, f"model-{number % 3}") == 0
        assert correction(record, "a new one") == 0
        assert correction(record, "gone") == 0
        assert {item.model for item in record.lessons} == {"model-0", "model-1", "model-2"}

    def test_what_all_models_take_more_is_expected_of_a_new_one(self) -> None:
        record = Record()
        for number, more in enumerate((300, 200, 1900)):
            assert correction(record, "new") == 0
            parts = [PartComparison("CUDA0", "compute", MIB, (1 + more) * MIB)]
            record = learn(record, f"model-{number}", parts)
        assert correction(record, "new") == 300 * MIB

    def test_free_memory_shows_what_no_log_names(self, files: Files) -> None:
        found = plan(FitRequest(model=files["3b"], hardware=machine(6)))
        gpu = found.devices[0]
        before = {"CUDA0": 5000 * MIB}
        after = {"CUDA0": 5000 * MIB - gpu.parts.total - 150 * MIB}
        assert correction(learn_free(Record(), "3b", found, before, after), "3b") == 150 * MIB
        assert learn_free(Record(), "3b", found, before, {}) == Record()

    def test_a_machine_that_needs_less_than_projected_teaches_nothing(self) -> None:
        record = Record((Lesson("a", "log", -500 * MIB, 1), Lesson("b", "log", MIB, 2)), 2)
        assert correction(record, "a") == correction(record, "b") == 0
        assert correction(Record(), "a") == 0

    @given(
        st.lists(
            st.builds(
                Lesson, st.text(), st.sampled_from(["log", "free"]),
                st.integers(-(10**12), 10**12), st.integers(0, 10**6),
            ),
            max_size=80,
        )
    )  # fmt: skip
    def test_a_record_survives_json_and_never_grows_without_end(
        self, lessons: list[Lesson]
    ) -> None:
        record = Record.from_dict(Record(tuple(lessons), 7).as_dict())
        assert record == Record(tuple(lessons[-40:]), 7)
        for lesson in lessons:
            assert 0 <= correction(record, lesson.model) <= 2048 * MIB

    @pytest.mark.parametrize(
        "data", [None, [], "x", {"version": 2}, {"version": 2, "count": 0, "lessons": 3},
                 {"version": 1, "taken": [["a", 1]]},
                 {"version": 2, "count": 0,
                  "lessons": [["a"], [1, "log", 2, 3], ["a", "log", True, 1], ["a", "x", 1, 1],
                              None]}],
    )  # fmt: skip
    def test_a_damaged_record_is_an_empty_one(self, data: object) -> None:
        assert Record.from_dict(data) == Record()


class TestText:
    def test_the_table_names_parts_and_reasons(self, files: Files) -> None:
        found = plan(FitRequest(model=files["8b"], hardware=machine(4), memory_speed=40e9))
        text = plan_text(found)
        for word in ("fits", "layers", "KV cache", "compute buffers", "margin", "left", "tokens/s"):
            assert word in text
        assert all(reason in text for reason in found.reasons)

    def test_what_does_not_fit_is_loud(self, files: Files) -> None:
        found = plan(FitRequest(model=files["8b"], hardware=machine(4), n_gpu_layers=33))
        text = plan_text(found)
        assert "DOES NOT FIT" in text
        assert "missing" in text
        assert "!]" in text

    @given(free=st.integers(1, 10**11))
    def test_the_bar_is_always_as_wide(self, files: Files, free: int) -> None:
        device = plan(FitRequest(model=files["3b"], hardware=machine(6))).devices[0]
        drawn = bar(replace(device, free_bytes=free))
        assert len(drawn) == 40
        assert "W" in drawn
