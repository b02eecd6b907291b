"""Projected bytes against what the engine's log says it allocated; `make bench-fit` does all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench_fit import compare
from fit_models import MODELS, Model, gemma3, qwen2, qwen3moe
from fit_probe import LoadRefused, read_log
from local_ai_suite.fit.memory import Load

if TYPE_CHECKING:
    from pathlib import Path

F16 = Load(ctx_size=2048)
Q8 = Load(ctx_size=3000, parallel=2, cache_type_k="q8_0", cache_type_v="q8_0")
UNIFIED = Load(ctx_size=4096, parallel=3, kv_unified=True)
PLAIN = Load(ctx_size=1024, flash_attention=False)
EMBED = Load(ctx_size=512, ubatch_size=512, batch_size=512, embedding=True)


@pytest.mark.parametrize(
    ("model", "load"),
    [
        (qwen2(2), Q8),
        (qwen3moe(2), F16),
        (gemma3(6), UNIFIED),
        (MODELS["falcon-h1"](), PLAIN),
        (MODELS["bert"](), EMBED),
    ],
    ids=["qwen2", "qwen3moe", "gemma3", "falcon-h1", "bert"],
)
def test_each_part_is_within_5_percent_or_16_mib(model: Model, load: Load, tmp_path: Path) -> None:
    rows = compare(model.architecture, model.write(tmp_path / "model.gguf"), load)
    assert [row.part for row in rows] == ["weights", "kv_cache", "compute"]
    assert all(row.good for row in rows), rows
    assert sum(row.allocated for row in rows) > 50  # the log was read at all


def test_a_model_that_the_engine_refuses_is_not_measured(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    model = MODELS["lfm2"]()
    model.tensors.pop()
    model.write(path)
    with pytest.raises(LoadRefused, match="tensor"):
        compare("lfm2", path, F16)


def test_the_log_is_read_part_by_part() -> None:
    text = """
    load_tensors:   CPU_Mapped model buffer size =   100.00 MiB
    load_tensors:        CUDA0 model buffer size =    50.50 MiB
    llama_context:        CPU  output buffer size =     0.25 MiB
    llama_context: n_ctx_seq             = 4096
    llama_kv_cache:        CPU KV buffer size =    16.00 MiB
    llama_memory_recurrent:        CPU RS buffer size =     2.60 MiB
    sched_reserve:        CPU compute buffer size =    72.02 MiB
    """
    assert read_log(text) == {
        "weights": 150.5, "kv_cache": 18.6, "compute": 72.02, "ctx_size": 4096.0,
    }  # fmt: skip
