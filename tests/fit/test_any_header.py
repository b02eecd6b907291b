"""Whatever a header claims, planning answers or refuses in words, at once."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

from fit_machines import machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local_ai_suite.errors import SuiteError
from local_ai_suite.fit import FitRequest, options, options_text, plan, plan_text
from local_ai_suite.gguf import describe, description_text, read_gguf

sys.path.insert(0, str(Path(__file__).parents[1] / "gguf"))
from gguf_bytes import F32, Q8_0, build

ARCHITECTURES = (
    "llama", "qwen3moe", "gemma3", "gpt-oss", "deepseek2", "mamba", "jamba", "falcon-h1", "lfm2",
    "nemotron_h", "qwen35", "rwkv7", "kimi-linear", "bert", "gemma4", "exaone4", "clip", "?",
)  # fmt: skip
NUMBERS = st.sampled_from([0, 1, 2, 3, 8, 64, 100, 4096, 131_072, 2**31 - 1])
VALUES = NUMBERS | st.lists(st.sampled_from([0, 1, 4, 64, -1]), max_size=12) | st.booleans()
KEYS = (
    "block_count", "embedding_length", "context_length", "feed_forward_length", "vocab_size",
    "attention.head_count", "attention.head_count_kv", "attention.key_length",
    "attention.value_length", "attention.key_length_mla", "attention.sliding_window",
    "attention.sliding_window_pattern", "attention.recurrent_layers", "attention.shared_kv_layers",
    "expert_count", "expert_used_count", "expert_feed_forward_length", "nextn_predict_layers",
    "ssm.inner_size", "ssm.state_size", "ssm.conv_kernel", "ssm.group_count", "wkv.head_size",
    "shortconv.l_cache", "kda.head_dim", "full_attention_interval", "pooling_type",
    "embedding_length_per_layer_input",
)  # fmt: skip
TENSORS = {
    "token_embd.weight": ((64, 8), Q8_0),
    "blk.0.attn_q.weight": ((64, 64), Q8_0),
    "blk.0.ffn_up_exps.weight": ((64, 8, 2), Q8_0),
    "blk.7.ffn_down.weight": ((64, 64), F32),
    "blk.99999.x": ((1,), F32),
    "output_norm.weight": ((64,), F32),
}


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    architecture=st.sampled_from(ARCHITECTURES),
    claims=st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=10),
    sound=st.booleans(),
    vram=st.sampled_from([None, 0.5, 6]),
)
def test_any_header_is_planned_or_refused_in_words(
    tmp_path: Path, architecture: str, claims: dict[str, Any], sound: bool, vram: float | None
) -> None:
    base = {"block_count": 8, "embedding_length": 64, "attention.head_count": 4} if sound else {}
    keys = {f"{architecture}.{key}": value for key, value in {**base, **claims}.items()}
    path = tmp_path / "m.gguf"
    try:
        path.write_bytes(build({"general.architecture": architecture, **keys}, TENSORS))
    except struct.error:
        return  # this test's own writer cannot say it
    try:
        model = read_gguf(path)
        assert description_text(describe(model))
        request = FitRequest(model=model, hardware=machine(vram), memory_speed=1e10)
        found = plan(request)
        assert plan_text(found)
        assert options_text(options(request, 5000), 5000)
    except SuiteError:
        return
    assert found.ctx_size >= 1
    assert all(value >= 0 for device in found.devices for value in (
        device.parts.weights, device.parts.kv_cache, device.parts.compute))  # fmt: skip
