"""A reranking model of random weights: BERT with a classifier, as bge-reranker's GGUF files are."""

from __future__ import annotations

import random
import struct
from math import prod
from typing import TYPE_CHECKING

from local_ai_suite.demo.gguf_writer import (
    U32,
    I32Array,
    Tensor,
    TensorType,
    TokenType,
    Value,
    gguf_bytes,
)

if TYPE_CHECKING:
    from pathlib import Path

WIDTH, SIZE, CONTEXT = 32, 64, 256
WORDS = ("seoul", "weather", "sunny", "stock", "market", "falls", "in", "today", "the", "is")
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_RANK_POOLING = 4  # llama.h, LLAMA_POOLING_TYPE_RANK


def write_rerank_gguf(path: Path) -> Path:
    """Write the model to ``path`` and return it; every file has the same bytes."""
    path.write_bytes(gguf_bytes(_metadata(), _tensors()))
    return path


def _metadata() -> dict[str, Value]:
    tokens = [*_SPECIAL, *(f"\u2581{word}" for word in WORDS)]
    types = [TokenType.CONTROL] * len(_SPECIAL) + [TokenType.NORMAL] * len(WORDS)
    return {
        "general.architecture": "bert",
        "general.name": "tiny-reranker",
        "bert.context_length": U32(CONTEXT),
        "bert.embedding_length": U32(WIDTH),
        "bert.block_count": U32(1),
        "bert.feed_forward_length": U32(SIZE),
        "bert.attention.head_count": U32(2),
        "bert.attention.layer_norm_epsilon": 1e-12,
        "bert.attention.causal": False,
        "bert.pooling_type": U32(_RANK_POOLING),
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": I32Array(types),
        "tokenizer.ggml.token_type_count": U32(2),
        "tokenizer.ggml.padding_token_id": U32(0),
        "tokenizer.ggml.unknown_token_id": U32(1),
        "tokenizer.ggml.bos_token_id": U32(2),
        "tokenizer.ggml.cls_token_id": U32(2),
        "tokenizer.ggml.eos_token_id": U32(3),
        "tokenizer.ggml.seperator_token_id": U32(3),
        "tokenizer.ggml.mask_token_id": U32(4),
    }


def _tensors() -> list[Tensor]:
    rng = random.Random(4)

    def tensor(name: str, *axes: int) -> Tensor:
        count = prod(axes)
        values = (rng.gauss(0, 0.3) for _ in range(count))
        return Tensor(name, axes, TensorType.F32, struct.pack(f"<{count}f", *values))

    tensors = [
        tensor("token_embd.weight", WIDTH, len(_SPECIAL) + len(WORDS)),
        tensor("token_types.weight", WIDTH, 2),
        tensor("position_embd.weight", WIDTH, CONTEXT),
        tensor("cls.weight", WIDTH, WIDTH),
        tensor("cls.bias", WIDTH),
        tensor("cls.output.weight", WIDTH, 1),
        tensor("cls.output.bias", 1),
        tensor("blk.0.ffn_up.weight", WIDTH, SIZE),
        tensor("blk.0.ffn_up.bias", SIZE),
        tensor("blk.0.ffn_down.weight", SIZE, WIDTH),
        tensor("blk.0.ffn_down.bias", WIDTH),
    ]
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        tensors += [
            tensor(f"blk.0.{name}.weight", WIDTH, WIDTH), tensor(f"blk.0.{name}.bias", WIDTH)
        ]  # fmt: skip
    for name in ("token_embd_norm", "blk.0.attn_output_norm", "blk.0.layer_output_norm"):
        tensors += [tensor(f"{name}.weight", WIDTH), tensor(f"{name}.bias", WIDTH)]
    return tensors
