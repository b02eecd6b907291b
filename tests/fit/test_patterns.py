"""Which layers see a window, which keep a state, as the engine's code has it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fit_models import MODELS, Model
from local_ai_suite.fit import model_shape
from local_ai_suite.fit.memory import Load, cache_bytes
from local_ai_suite.fit.shape import ModelShape
from local_ai_suite.gguf import read_gguf

sys.path.insert(0, str(Path(__file__).parents[1] / "gguf"))
from gguf_bytes import build

WINDOW = "attention.sliding_window"
PATTERN = "attention.sliding_window_pattern"


def shape(tmp_path: Path, architecture: str, layers: int = 8, **keys: object) -> ModelShape:
    """The shape of a header without tensors: ``attention__sliding_window`` stands for dots."""
    named = {f"{architecture}.{key.replace('__', '.')}": value for key, value in keys.items()}
    path = tmp_path / f"{architecture}.gguf"
    path.write_bytes(
        build({
            "general.architecture": architecture,
            f"{architecture}.block_count": layers,
            f"{architecture}.embedding_length": 64,
            f"{architecture}.attention.head_count": 4,
            **named,
        })
    )  # fmt: skip
    return model_shape(read_gguf(path))


def windows(found: ModelShape) -> str:
    """``w`` for a layer that sees the window, ``F`` for one that sees everything."""
    return "".join("w" if layer.in_window else "F" for layer in found.layers)


@pytest.mark.parametrize(
    ("architecture", "keys", "window", "pattern"),
    [
        ("llama", {"attention__sliding_window": 4096}, 0, "FFFFFFFF"),
        ("phi3", {"attention__sliding_window": 2047}, 0, "FFFFFFFF"),
        ("gemma2", {}, 4096, "wFwFwFwF"),
        ("gemma3", {"attention__sliding_window": 512}, 512, "wwwwwFww"),
        ("gemma3", {}, 0, "FFFFFFFF"),
        ("gpt-oss", {"attention__sliding_window": 128}, 128, "wFwFwFwF"),
        ("cohere2", {"attention__sliding_window": 4096}, 4096, "wwwFwwwF"),
        ("smallthinker", {"attention__sliding_window": 9}, 4096, "FwwwFwww"),
        ("llama4", {}, 8192, "wwwFwwwF"),
        ("llama4", {"attention__sliding_window": 0}, 0, "FFFFFFFF"),
        ("exaone4", {"attention__sliding_window": 4096}, 0, "FFFFFFFF"),
        ("olmo2", {"attention__sliding_window": 4096,
                   "attention__sliding_window_pattern": 2}, 4096, "wFwFwFwF"),
        ("gemma4", {"attention__sliding_window": 512,
                    "attention__sliding_window_pattern": [True, True, False] * 2 + [True] * 2},
         512, "wwFwwFww"),
        ("lfm2", {"attention__sliding_window": 256}, 256, "wwwwwwww"),
        ("never-heard-of", {"attention__sliding_window": 512}, 0, "FFFFFFFF"),
    ],
)  # fmt: skip
def test_windows_are_where_the_engine_has_them(
    tmp_path: Path, architecture: str, keys: dict[str, object], window: int, pattern: str
) -> None:
    found = shape(tmp_path, architecture, **keys)
    assert (found.window, windows(found)) == (window, pattern)


def test_exaone4_has_a_window_only_in_its_large_model(tmp_path: Path) -> None:
    found = shape(tmp_path, "exaone4", 64)
    assert (found.window, windows(found)[:8]) == (4096, "wwwFwwwF")


@pytest.mark.parametrize(
    ("architecture", "keys", "pattern"),
    [
        ("llama", {}, "AAAAAAAA"),
        ("bert", {}, "--------"),
        ("mamba", {}, "RRRRRRRR"),
        ("falcon-h1", {}, "BBBBBBBB"),
        ("jamba", {"attention__head_count_kv": [0, 0, 2, 0, 0, 0, 2, 0]}, "RRARRRAR"),
        ("qwen3next", {}, "RRRARRRA"),
        ("qwen35", {"full_attention_interval": 2}, "RARARARA"),
        ("qwen35", {"attention__recurrent_layers": [1, 1, 0, 0, 1, 1, 0, 0]}, "RRAARRAA"),
        ("nemotron_h", {"attention__head_count_kv": [0, 0, 2, 0, 0, 0, 0, 2],
                        "feed_forward_length": [0, 64, 0, 0, 64, 0, 64, 0]}, "R-AR-R-A"),
    ],
)  # fmt: skip
def test_each_layer_remembers_what_the_engine_lets_it(
    tmp_path: Path, architecture: str, keys: dict[str, object], pattern: str
) -> None:
    state = {"ssm__inner_size": 128, "ssm__state_size": 16, "ssm__conv_kernel": 4}
    found = shape(tmp_path, architecture, **{**state, **keys})
    names = {(True, False): "A", (False, True): "R", (True, True): "B", (False, False): "-"}
    said = "".join(names[layer.k_width > 0, layer.state_values > 0] for layer in found.layers)
    assert said == pattern


@pytest.mark.parametrize(
    ("keys", "values"),
    [
        ({"ssm__inner_size": 128, "ssm__state_size": 16, "ssm__conv_kernel": 4,
          "ssm__group_count": 2}, 3 * (128 + 64) + 16 * 128),
        ({"wkv__head_size": 16, "token_shift_count": 2}, 2 * 64 + 64 * 16),
        ({"shortconv__l_cache": 3}, 2 * 64),
    ],
)  # fmt: skip
def test_recurrent_states_have_the_engines_size(
    tmp_path: Path, keys: dict[str, object], values: int
) -> None:
    assert shape(tmp_path, "mamba", **keys).layers[0].state_values == values


def test_latent_attention_caches_keys_only(tmp_path: Path) -> None:
    found = shape(tmp_path, "deepseek2", attention__head_count_kv=1, attention__key_length=576,
                  attention__value_length=512, attention__key_length_mla=192)  # fmt: skip
    assert (found.layers[0].k_width, found.layers[0].v_width) == (576, 0)


def test_layers_for_further_tokens_are_neither_loaded_nor_cached(tmp_path: Path) -> None:
    found = shape(tmp_path, "glm4moe", nextn_predict_layers=1)
    assert [layer.shares_cache for layer in found.layers] == [False] * 7 + [True]
    assert cache_bytes(found, found.layers[-1], Load(ctx_size=4096)) == 0


def test_a_cache_is_counted_in_steps_streams_and_its_type(tmp_path: Path) -> None:
    found = shape(tmp_path, "llama")
    layer = found.layers[0]
    width = 64 + 64
    assert cache_bytes(found, layer, Load(ctx_size=1000)) == 1024 * width * 2
    assert cache_bytes(found, layer, Load(ctx_size=1000, parallel=3)) == 3 * 1024 * width * 2
    unified = Load(ctx_size=1000, parallel=3, kv_unified=True)
    assert cache_bytes(found, layer, unified) == 1024 * width * 2
    small = Load(ctx_size=1024, cache_type_k="q8_0", cache_type_v="q4_0")
    assert cache_bytes(found, layer, small) == 1024 * (64 // 32 * 34 + 64 // 32 * 18)


def test_a_window_keeps_a_batch_more_and_never_more_than_the_context(tmp_path: Path) -> None:
    found = shape(tmp_path, "gemma3", attention__sliding_window=512)
    layer = found.layers[0]
    assert cache_bytes(found, layer, Load(ctx_size=8192)) == 1024 * 128 * 2
    assert cache_bytes(found, layer, Load(ctx_size=512)) == 512 * 128 * 2
    assert cache_bytes(found, found.layers[5], Load(ctx_size=8192)) == 8192 * 128 * 2


def test_every_model_of_the_bench_has_a_shape(tmp_path: Path) -> None:
    for name, make in MODELS.items():
        if name in {"gemma3", "gemma2"}:
            continue  # a quarter of a million words each; the bench reads them
        model: Model = make()
        found = model_shape(read_gguf(model.write(tmp_path / "m.gguf")))
        assert found.weight_bytes > 0, name
        assert len(found.layers) == model.layers
