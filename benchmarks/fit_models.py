"""Model files of many architectures, to hold the fit planner against the engine.

The headers and tensor tables are as the real models have them, with their widths and fewer layers;
the weights are holes in a sparse file, for their values change no byte of what the engine
allocates. So a "30B" model costs kilobytes on the disk and is loaded (mapped) in no time.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from local_ai_suite.gguf import TYPES_BY_NAME

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ALIGNMENT = 32
Value = str | int | float | bool | list[int] | list[float] | list[str] | list[bool]


@dataclass
class Model:
    """A header being put together: ``keys`` without the architecture's prefix."""

    architecture: str
    layers: int
    width: int
    keys: dict[str, Value]
    vocabulary: int = 32_000
    weight_type: str = "Q8_0"
    tensors: list[tuple[str, tuple[int, ...], str]] = field(default_factory=list)
    file_type: int = 7
    tokenizer: str = "llama"

    def add(self, name: str, *shape: int, kind: str | None = None) -> None:
        """A tensor; vectors and small odd rows are F32, as the converter keeps them."""
        block = TYPES_BY_NAME[self.weight_type].block
        is_small = len(shape) == 1 or shape[0] % block != 0
        self.tensors.append((name, shape, kind or ("F32" if is_small else self.weight_type)))

    def ends(self, *, tied: bool = True, norm: str = "output_norm") -> None:
        self.add("token_embd.weight", self.width, self.vocabulary)
        self.add(f"{norm}.weight", self.width)
        if not tied:
            self.add("output.weight", self.width, self.vocabulary)

    def attention(self, layer: int, q: int, kv: int, *, bias: bool = False, norms: int = 0) -> None:
        name = f"blk.{layer}."
        self.add(name + "attn_norm.weight", self.width)
        for part, size in (("q", q), ("k", kv), ("v", kv)):
            self.add(f"{name}attn_{part}.weight", self.width, size)
            if bias:
                self.add(f"{name}attn_{part}.bias", size)
        self.add(name + "attn_output.weight", q, self.width)
        if norms:
            self.add(name + "attn_q_norm.weight", norms)
            self.add(name + "attn_k_norm.weight", norms)

    def feed_forward(self, layer: int, size: int) -> None:
        name = f"blk.{layer}."
        self.add(name + "ffn_norm.weight", self.width)
        self.add(name + "ffn_gate.weight", self.width, size)
        self.add(name + "ffn_up.weight", self.width, size)
        self.add(name + "ffn_down.weight", size, self.width)

    def experts(self, layer: int, count: int, size: int, *, kind: str | None = None) -> None:
        name = f"blk.{layer}."
        self.add(name + "ffn_gate_inp.weight", self.width, count, kind="F32")
        self.add(name + "ffn_gate_exps.weight", self.width, size, count, kind=kind)
        self.add(name + "ffn_up_exps.weight", self.width, size, count, kind=kind)
        self.add(name + "ffn_down_exps.weight", size, self.width, count, kind=kind)

    def write(self, path: Path) -> Path:
        """Write the header and make the file as long as its tensors need."""
        prefix = self.architecture
        metadata: dict[str, Value] = {
            "general.architecture": prefix,
            "general.name": path.stem,
            "general.file_type": self.file_type,
            f"{prefix}.block_count": self.layers,
            f"{prefix}.embedding_length": self.width,
            **{f"{prefix}.{key}": value for key, value in self.keys.items()},
            **vocabulary(self.tokenizer, self.vocabulary),
        }
        out = bytearray(struct.pack("<4sIQQ", b"GGUF", 3, len(self.tensors), len(metadata)))
        for key, value in metadata.items():
            out += _string(key) + _value(value)
        offset = 0
        for name, shape, kind in self.tensors:
            storage = TYPES_BY_NAME[kind]
            out += _string(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
            out += struct.pack("<IQ", storage.number, offset)
            elements = 1
            for size in shape:
                elements *= size
            offset += _padded(elements // storage.block * storage.block_bytes)
        start = _padded(len(out))
        path.write_bytes(out.ljust(start, b"\0"))
        os.truncate(path, start + offset)
        return path


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(value: Value) -> bytes:
    if isinstance(value, list):
        kind, code = (8, "") if isinstance(value[0], str) else _scalar(value[0])
        if kind == 4:
            kind, code = 5, "i"  # arrays of whole numbers are signed in the engine's eyes
        head = struct.pack("<IIQ", 9, kind, len(value))
        if isinstance(value[0], str):
            return head + b"".join(_string(str(item)) for item in value)
        return head + struct.pack(f"<{len(value)}{code}", *value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + _string(value)
    kind, code = _scalar(value)
    return struct.pack(f"<I{code}", kind, value)


def _scalar(value: float | str) -> tuple[int, str]:
    if isinstance(value, bool):
        return 7, "?"
    return (4, "I") if isinstance(value, int) else (6, "f")


def vocabulary(tokenizer: str, count: int) -> dict[str, Value]:
    """A vocabulary of ``count`` made-up words that the engine's tokenizer accepts."""
    if tokenizer == "bert":
        first = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        return {
            "tokenizer.ggml.model": "bert",
            "tokenizer.ggml.tokens": first + [f"▁word{n}" for n in range(count - len(first))],
            "tokenizer.ggml.token_type": [1] * count,
            "tokenizer.ggml.token_type_count": 2,
            "tokenizer.ggml.unknown_token_id": 1,
            "tokenizer.ggml.cls_token_id": 2,
            "tokenizer.ggml.seperator_token_id": 3,
            "tokenizer.ggml.padding_token_id": 0,
        }
    first = ["<unk>", "<s>", "</s>", "<|endoftext|>", *(f"<0x{n:02X}>" for n in range(256))]
    rest = count - len(first)
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": first + [f"▁word{n}" for n in range(rest)],
        "tokenizer.ggml.scores": [0.0] * len(first) + [-1.0] * rest,
        "tokenizer.ggml.token_type": [2, 3, 3, 3] + [6] * 256 + [1] * rest,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    }


def transformer(
    architecture: str,
    *,
    layers: int,
    width: int,
    heads: int,
    heads_kv: int,
    feed_forward: int,
    head: int | None = None,
    trained: int = 32_768,
    vocabulary_size: int = 32_000,
    weight_type: str = "Q8_0",
    tied: bool = False,
    bias: bool = False,
    norms: bool = False,
    keys: dict[str, Value] | None = None,
) -> Model:
    size = head or width // heads
    model = Model(
        architecture,
        layers,
        width,
        {
            "context_length": trained,
            "feed_forward_length": feed_forward,
            "attention.head_count": heads,
            "attention.head_count_kv": heads_kv,
            "attention.layer_norm_rms_epsilon": 1e-6,
            **({"attention.key_length": size, "attention.value_length": size} if head else {}),
            **(keys or {}),
        },
        vocabulary_size,
        weight_type,
    )
    model.ends(tied=tied)
    for n in range(layers):
        model.attention(n, heads * size, heads_kv * size, bias=bias, norms=size if norms else 0)
        if feed_forward:
            model.feed_forward(n, feed_forward)
    return model


def llama(layers: int = 4) -> Model:  # Llama-3.1-8B
    return transformer("llama", layers=layers, width=4096, heads=32, heads_kv=8,
                        feed_forward=14_336, trained=131_072, keys={"rope.dimension_count": 128},
                        vocabulary_size=128_256, weight_type="Q6_K")  # fmt: skip


def mistral() -> Model:  # Mistral-7B v0.1: its header names a window, which llama.cpp ignores
    return transformer("llama", layers=4, width=4096, heads=32, heads_kv=8, feed_forward=14_336,
                        keys={"rope.dimension_count": 128, "attention.sliding_window": 4096},
                        weight_type="Q4_K")  # fmt: skip


def qwen2(layers: int = 6) -> Model:  # Qwen2.5-3B
    return transformer("qwen2", layers=layers, width=2048, heads=16, heads_kv=2,
                        feed_forward=11_008, vocabulary_size=151_936, tied=True,
                        bias=True)  # fmt: skip


def qwen3() -> Model:  # Qwen3-4B
    return transformer("qwen3", layers=6, width=2560, heads=32, heads_kv=8, head=128,
                        feed_forward=9728, tied=True, norms=True, weight_type="Q6_K",
                        trained=40_960, vocabulary_size=151_936)  # fmt: skip


def qwen3_embedding() -> Model:  # Qwen3-Embedding-0.6B
    return transformer("qwen3", layers=4, width=1024, heads=16, heads_kv=8, head=128,
                        feed_forward=3072, tied=True, norms=True, vocabulary_size=151_669,
                        keys={"pooling_type": 3})  # fmt: skip


def qwen3moe(layers: int = 3) -> Model:  # Qwen3-30B-A3B
    model = transformer("qwen3moe", layers=layers, width=2048, heads=32, heads_kv=4, head=128,
                         feed_forward=0, norms=True, trained=40_960, vocabulary_size=151_936,
                         keys={"feed_forward_length": 6144, "expert_count": 128,
                               "expert_used_count": 8, "expert_feed_forward_length": 768},
                         )  # fmt: skip
    for n in range(model.layers):
        model.add(f"blk.{n}.ffn_norm.weight", model.width)
        model.experts(n, 128, 768)
    return model


def gemma3(layers: int = 12) -> Model:  # gemma-3-4b
    model = transformer("gemma3", layers=layers, width=2560, heads=8, heads_kv=4, head=256,
                         feed_forward=10_240, trained=131_072, vocabulary_size=262_144, tied=True,
                         norms=True, keys={"attention.sliding_window": 1024})  # fmt: skip
    for n in range(model.layers):
        model.add(f"blk.{n}.post_attention_norm.weight", model.width)
        model.add(f"blk.{n}.post_ffw_norm.weight", model.width)
    return model


def gemma2() -> Model:  # gemma-2-2b: soft-capped scores, half of the layers in a window
    model = transformer("gemma2", layers=8, width=2304, heads=8, heads_kv=4, head=256,
                         feed_forward=9216, trained=8192, vocabulary_size=256_000, tied=True,
                         keys={"attention.sliding_window": 4096, "attn_logit_softcapping": 50.0,
                               "final_logit_softcapping": 30.0})  # fmt: skip
    for n in range(model.layers):
        model.add(f"blk.{n}.post_attention_norm.weight", model.width)
        model.add(f"blk.{n}.post_ffw_norm.weight", model.width)
    return model


def phi3() -> Model:  # Phi-3-mini: fused projections, every head has its own keys
    model = Model("phi3", 6, 3072, {
        "context_length": 131_072, "feed_forward_length": 8192, "attention.head_count": 32,
        "attention.head_count_kv": 32, "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.dimension_count": 96, "attention.sliding_window": 262_144,
    }, 32_064, "Q4_K")  # fmt: skip
    model.ends(tied=False)
    for n in range(model.layers):
        name = f"blk.{n}."
        model.add(name + "attn_norm.weight", 3072)
        model.add(name + "attn_qkv.weight", 3072, 3 * 3072)
        model.add(name + "attn_output.weight", 3072, 3072)
        model.add(name + "ffn_norm.weight", 3072)
        model.add(name + "ffn_up.weight", 3072, 2 * 8192)
        model.add(name + "ffn_down.weight", 8192, 3072)
    return model


def gpt_oss() -> Model:  # gpt-oss-20b: experts in MXFP4, attention sinks, a window of 128
    model = transformer("gpt-oss", layers=4, width=2880, heads=64, heads_kv=8, head=64,
                         feed_forward=0, trained=131_072, vocabulary_size=201_088, bias=True,
                         keys={"expert_count": 32, "expert_used_count": 4,
                               "expert_feed_forward_length": 2880,
                               "attention.sliding_window": 128,
                               "rope.dimension_count": 64})  # fmt: skip
    for n in range(model.layers):
        name = f"blk.{n}."
        model.add(name + "post_attention_norm.weight", 2880)
        model.add(name + "attn_output.bias", 2880)
        model.add(name + "attn_sinks.weight", 64)
        model.experts(n, 32, 2880, kind="MXFP4")
        model.add(name + "ffn_gate_inp.bias", 32)
        for part in ("gate", "up", "down"):
            model.add(f"{name}ffn_{part}_exps.bias", 2880, 32, kind="F32")
    return model


def deepseek2() -> Model:  # DeepSeek-V2-Lite: latent attention caches one narrow key per token
    heads, nope, rope, latent, value = 16, 128, 64, 512, 128
    model = Model("deepseek2", 27, 2048, {
        "context_length": 163_840, "feed_forward_length": 10_944, "attention.head_count": heads,
        "attention.head_count_kv": 1, "attention.layer_norm_rms_epsilon": 1e-6,
        "attention.key_length": latent + rope, "attention.value_length": latent,
        "attention.key_length_mla": nope + rope, "attention.value_length_mla": value,
        "attention.kv_lora_rank": latent, "rope.dimension_count": rope,
        "leading_dense_block_count": 1, "expert_count": 64, "expert_used_count": 6,
        "expert_feed_forward_length": 1408, "expert_shared_count": 2, "expert_weights_scale": 1.0,
        "vocab_size": 102_400,
    }, 102_400)  # fmt: skip
    model.ends(tied=False)
    for n in range(model.layers):
        name = f"blk.{n}."
        model.add(name + "attn_norm.weight", 2048)
        model.add(name + "attn_q.weight", 2048, heads * (nope + rope))
        model.add(name + "attn_kv_a_norm.weight", latent)
        model.add(name + "attn_kv_a_mqa.weight", 2048, latent + rope)
        model.add(name + "attn_k_b.weight", nope, latent, heads)
        model.add(name + "attn_v_b.weight", latent, value, heads)
        model.add(name + "attn_output.weight", heads * value, 2048)
        if n == 0:
            model.feed_forward(n, 10_944)
            continue
        model.add(name + "ffn_norm.weight", 2048)
        model.experts(n, 64, 1408)
        for part in ("gate", "up"):
            model.add(f"{name}ffn_{part}_shexp.weight", 2048, 2816)
        model.add(name + "ffn_down_shexp.weight", 2816, 2048)
    return model


def mamba_block(model: Model, n: int, *, inner: int, state: int, rank: int, norms: bool) -> None:
    name = f"blk.{n}."
    model.add(name + "ssm_in.weight", model.width, 2 * inner)
    model.add(name + "ssm_conv1d.weight", 4, inner)
    model.add(name + "ssm_conv1d.bias", inner)
    model.add(name + "ssm_x.weight", inner, rank + 2 * state)
    model.add(name + "ssm_dt.weight", rank, inner, kind="F32")
    model.add(name + "ssm_dt.bias", inner)
    model.add(name + "ssm_a", state, inner, kind="F32")
    model.add(name + "ssm_d", inner)
    model.add(name + "ssm_out.weight", inner, model.width)
    if norms:
        for part, size in (("dt", rank), ("b", state), ("c", state)):
            model.add(f"{name}ssm_{part}_norm.weight", size)


_MAMBA: dict[str, Value] = {"ssm.conv_kernel": 4, "ssm.state_size": 16}


def mamba() -> Model:  # mamba-2.8b
    model = Model("mamba", 8, 2560, {
        "context_length": 1_048_576, "feed_forward_length": 0, "attention.head_count": 0,
        "attention.layer_norm_rms_epsilon": 1e-5, **_MAMBA, "ssm.inner_size": 5120,
        "ssm.time_step_rank": 160,
    }, 50_280)  # fmt: skip
    model.ends()
    for n in range(model.layers):
        model.add(f"blk.{n}.attn_norm.weight", model.width)
        mamba_block(model, n, inner=5120, state=16, rank=160, norms=False)
    return model


def jamba() -> Model:  # Jamba-Reasoning-3B's widths: one layer in eight attends
    heads_kv = [4 if n % 8 == 4 else 0 for n in range(8)]
    model = Model("jamba", 8, 2560, {
        "context_length": 262_144, "feed_forward_length": 8192, "attention.head_count": 20,
        "attention.head_count_kv": heads_kv, "attention.layer_norm_rms_epsilon": 1e-6, **_MAMBA,
        "ssm.inner_size": 5120, "ssm.time_step_rank": 160,
    }, 65_536)  # fmt: skip
    model.ends()
    for n in range(model.layers):
        if heads_kv[n]:
            model.attention(n, 2560, 4 * 128)
        else:
            model.add(f"blk.{n}.attn_norm.weight", model.width)
            mamba_block(model, n, inner=5120, state=16, rank=160, norms=True)
        model.feed_forward(n, 8192)
    return model


def falcon_h1() -> Model:  # Falcon-H1-3B: attention and a recurrent branch in every layer
    width, inner, state, groups, heads = 2560, 4096, 256, 1, 32
    model = transformer("falcon-h1", layers=4, width=width, heads=10, heads_kv=2, head=128,
                         feed_forward=10_240, trained=131_072, vocabulary_size=65_537,
                         keys={"ssm.conv_kernel": 4, "ssm.inner_size": inner,
                               "ssm.state_size": state, "ssm.group_count": groups,
                               "ssm.time_step_rank": heads})  # fmt: skip
    for n in range(model.layers):
        name = f"blk.{n}."
        model.add(name + "ssm_in.weight", width, 2 * inner + 2 * groups * state + heads)
        model.add(name + "ssm_conv1d.weight", 4, inner + 2 * groups * state)
        model.add(name + "ssm_conv1d.bias", inner + 2 * groups * state)
        model.add(name + "ssm_dt.bias", heads)
        model.add(name + "ssm_a", 1, heads, kind="F32")
        model.add(name + "ssm_d", 1, heads, kind="F32")
        model.add(name + "ssm_norm.weight", inner // groups, groups, kind="F32")
        model.add(name + "ssm_out.weight", inner, width)
    model.tensors = [
        (name.removesuffix(".weight") if name.endswith("ffn_norm.weight") else name, shape, kind)
        for name, shape, kind in model.tensors
    ]
    return model


def mamba2() -> Model:  # mamba2-2.7b
    width, inner, state, groups, heads = 2560, 5120, 128, 1, 80
    model = Model("mamba2", 6, width, {
        "context_length": 1_048_576, "feed_forward_length": 0, "attention.head_count": 0,
        "attention.layer_norm_rms_epsilon": 1e-5, "ssm.conv_kernel": 4, "ssm.inner_size": inner,
        "ssm.state_size": state, "ssm.group_count": groups, "ssm.time_step_rank": heads,
    }, 50_288)  # fmt: skip
    model.ends()
    convolved = inner + 2 * groups * state
    for n in range(model.layers):
        name = f"blk.{n}."
        model.add(name + "attn_norm.weight", width)
        model.add(name + "ssm_in.weight", width, inner + convolved + heads)
        model.add(name + "ssm_conv1d.weight", 4, convolved)
        model.add(name + "ssm_conv1d.bias", convolved)
        model.add(name + "ssm_dt.bias", heads)
        model.add(name + "ssm_a", 1, heads, kind="F32")
        model.add(name + "ssm_d", 1, heads, kind="F32")
        model.add(name + "ssm_norm.weight", inner // groups, groups, kind="F32")
        model.add(name + "ssm_out.weight", inner, width)
    return model


def qwen35() -> Model:  # Qwen3.5-4B: gated delta nets, every fourth layer attends
    width, state, groups, heads = 2560, 128, 16, 32
    key, value = state * groups, state * heads
    model = Model("qwen35", 8, width, {
        "context_length": 262_144, "feed_forward_length": 9216, "attention.head_count": 16,
        "attention.head_count_kv": 4, "attention.key_length": 256, "attention.value_length": 256,
        "attention.layer_norm_rms_epsilon": 1e-6, "rope.dimension_count": 64,
        "rope.dimension_sections": [11, 11, 10, 0], "ssm.conv_kernel": 4,
        "ssm.inner_size": value, "ssm.state_size": state, "ssm.time_step_rank": heads,
        "ssm.group_count": groups, "full_attention_interval": 4,
    }, 248_320)  # fmt: skip
    model.ends()
    for n in range(model.layers):
        name = f"blk.{n}."
        if n % 4 == 3:
            model.attention(n, 16 * 256, 4 * 256, norms=256)
            # Queries come with their gates.
            model.tensors = [
                (t, (width, 2 * 16 * 256) if t == name + "attn_q.weight" else shape, kind)
                for t, shape, kind in model.tensors
            ]
        else:
            model.add(name + "attn_norm.weight", width)
            model.add(name + "attn_qkv.weight", width, 2 * key + value)
            model.add(name + "attn_gate.weight", width, value)
            model.add(name + "ssm_conv1d.weight", 4, 2 * key + value)
            model.add(name + "ssm_dt.bias", heads)
            model.add(name + "ssm_a", heads)
            model.add(name + "ssm_beta.weight", width, heads)
            model.add(name + "ssm_alpha.weight", width, heads)
            model.add(name + "ssm_norm.weight", state)
            model.add(name + "ssm_out.weight", value, width)
        model.feed_forward(n, 9216)
    model.tensors = [
        (name.replace("ffn_norm", "post_attention_norm"), shape, kind)
        for name, shape, kind in model.tensors
    ]
    return model


def gemma4() -> Model:  # gemma-4-E2B's widths: embeddings per layer, caches shared by later layers
    width, heads, full, window, extra = 1536, 8, 512, 256, 256
    in_window = [n % 5 != 4 for n in range(10)]
    model = Model("gemma4", 10, width, {
        "context_length": 131_072, "feed_forward_length": 6144, "attention.head_count": heads,
        "attention.head_count_kv": 1, "attention.layer_norm_rms_epsilon": 1e-6,
        "attention.key_length": full, "attention.value_length": full,
        "attention.key_length_swa": window, "attention.value_length_swa": window,
        "attention.sliding_window": 512, "attention.sliding_window_pattern": in_window,
        "attention.shared_kv_layers": 5, "embedding_length_per_layer_input": extra,
        "rope.dimension_count": full, "rope.dimension_count_swa": window,
    }, 65_536)  # fmt: skip
    model.ends()
    model.add("per_layer_token_embd.weight", extra * model.layers, model.vocabulary)
    model.add("per_layer_model_proj.weight", width, extra * model.layers)
    model.add("per_layer_proj_norm.weight", extra)
    model.add("rope_freqs.weight", full // 2)
    for n in range(model.layers):
        name = f"blk.{n}."
        head = window if in_window[n] else full
        model.attention(n, heads * head, head, norms=head)
        model.add(name + "post_attention_norm.weight", width)
        model.feed_forward(n, 6144)
        model.add(name + "post_ffw_norm.weight", width)
        model.add(name + "inp_gate.weight", width, extra)
        model.add(name + "proj.weight", extra, width)
        model.add(name + "post_norm.weight", width)
    return model


def cohere2() -> Model:  # command-r7b: attention and feed-forward side by side
    model = transformer("cohere2", layers=4, width=4096, heads=32, heads_kv=8, head=128,
                        feed_forward=14_336, trained=132_096, vocabulary_size=100_000, tied=True,
                        keys={"attention.sliding_window": 4096, "logit_scale": 0.25,
                              "attention.layer_norm_epsilon": 1e-5,
                              "rope.dimension_count": 128})  # fmt: skip
    model.tensors = [row for row in model.tensors if "ffn_norm" not in row[0]]
    return model


def lfm2() -> Model:  # LFM2-1.2B: short convolutions, every third layer attends
    heads_kv = [8 if n % 3 == 2 else 0 for n in range(9)]
    model = Model("lfm2", 9, 2048, {
        "context_length": 128_000, "feed_forward_length": 8192, "attention.head_count": 32,
        "attention.head_count_kv": heads_kv, "attention.layer_norm_rms_epsilon": 1e-5,
        "shortconv.l_cache": 3, "vocab_size": 65_536,
    }, 65_536)  # fmt: skip
    model.ends(norm="token_embd_norm")
    for n in range(model.layers):
        name = f"blk.{n}."
        if heads_kv[n]:
            model.attention(n, 2048, 512, norms=64)
        else:
            model.add(name + "attn_norm.weight", 2048)
            model.add(name + "shortconv.conv.weight", 3, 2048)
            model.add(name + "shortconv.in_proj.weight", 2048, 3 * 2048)
            model.add(name + "shortconv.out_proj.weight", 2048, 2048)
        model.feed_forward(n, 8192)
    return model


def bert() -> Model:  # bge-large
    width, size = 1024, 4096
    model = Model("bert", 6, width, {
        "context_length": 512, "feed_forward_length": size, "attention.head_count": 16,
        "attention.layer_norm_epsilon": 1e-12, "attention.causal": False, "pooling_type": 2,
    }, 30_522, tokenizer="bert")  # fmt: skip
    model.add("token_embd.weight", width, model.vocabulary)
    model.add("token_types.weight", width, 2, kind="F32")
    model.add("position_embd.weight", width, 512, kind="F32")
    model.add("token_embd_norm.weight", width)
    model.add("token_embd_norm.bias", width)
    for n in range(model.layers):
        name = f"blk.{n}."
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            model.add(f"{name}{part}.weight", width, width)
            model.add(f"{name}{part}.bias", width)
        model.add(name + "ffn_up.weight", width, size)
        model.add(name + "ffn_up.bias", size)
        model.add(name + "ffn_down.weight", size, width)
        model.add(name + "ffn_down.bias", width)
        for norm in ("attn_output_norm", "layer_output_norm"):
            model.add(f"{name}{norm}.weight", width)
            model.add(f"{name}{norm}.bias", width)
    return model


MODELS: dict[str, Callable[[], Model]] = {
    "llama": llama, "mistral": mistral, "qwen2": qwen2, "qwen3": qwen3,
    "qwen3-embedding": qwen3_embedding, "qwen3moe": qwen3moe, "gemma2": gemma2, "gemma3": gemma3,
    "phi3": phi3, "gpt-oss": gpt_oss, "deepseek2": deepseek2, "mamba": mamba, "jamba": jamba,
    "falcon-h1": falcon_h1, "lfm2": lfm2, "bert": bert, "mamba2": mamba2, "qwen35": qwen35,
    "gemma4": gemma4, "cohere2": cohere2,
}  # fmt: skip


def siglip(width: int = 1152, hidden: int = 4304, heads: int = 16, image: int = 896) -> Model:
    """The vision projector of gemma-3-4b (SigLIP, patches of 14), with three layers."""
    model = Model("clip", 3, width, {
        "has_vision_encoder": True, "projector_type": "gemma3", "use_gelu": True,
        "vision.embedding_length": width, "vision.feed_forward_length": hidden,
        "vision.attention.head_count": heads, "vision.block_count": 3,
        "vision.projection_dim": 2560, "vision.image_size": image, "vision.patch_size": 14,
        "vision.attention.layer_norm_epsilon": 1e-6, "vision.image_mean": [0.5, 0.5, 0.5],
        "vision.image_std": [0.5, 0.5, 0.5],
    }, 300, "F16")  # fmt: skip
    patches = (image // 14) ** 2
    model.add("v.patch_embd.weight", 14, 14, 3, width)
    model.add("v.patch_embd.bias", width)
    model.add("v.position_embd.weight", width, patches, kind="F32")
    for n in range(3):
        name = f"v.blk.{n}."
        for part in ("attn_q", "attn_k", "attn_v", "attn_out"):
            model.add(f"{name}{part}.weight", width, width)
            model.add(f"{name}{part}.bias", width)
        for part in ("ln1", "ln2"):
            model.add(f"{name}{part}.weight", width)
            model.add(f"{name}{part}.bias", width)
        model.add(name + "ffn_up.weight", width, hidden)
        model.add(name + "ffn_up.bias", hidden)
        model.add(name + "ffn_down.weight", hidden, width)
        model.add(name + "ffn_down.bias", width)
    model.add("v.post_ln.weight", width)
    model.add("v.post_ln.bias", width)
    model.add("mm.input_projection.weight", 2560, width)
    model.add("mm.soft_emb_norm.weight", width)
    return model
