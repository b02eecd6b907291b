"""Builds GGUF headers byte by byte, right ones and wrong ones; shares nothing with the reader."""

from __future__ import annotations

import struct

TYPE_U8, TYPE_U32, TYPE_I32, TYPE_F32, TYPE_BOOL, TYPE_STRING, TYPE_ARRAY, TYPE_U64 = (
    0, 4, 5, 6, 7, 8, 9, 10,
)  # fmt: skip
F32, F16, Q8_0, Q4_K, Q6_K = 0, 1, 8, 12, 14
_BLOCKS = {F32: (1, 4), F16: (1, 2), Q8_0: (32, 34), Q4_K: (256, 144), Q6_K: (256, 210)}


def string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def value(item: object) -> bytes:
    """A typed value: str, bool, int (u32), float (f32), a list of one of these."""
    if isinstance(item, bool):
        return struct.pack("<I?", TYPE_BOOL, item)
    if isinstance(item, str):
        return struct.pack("<I", TYPE_STRING) + string(item)
    if isinstance(item, int):
        return struct.pack("<II", TYPE_U32, item)
    if isinstance(item, float):
        return struct.pack("<If", TYPE_F32, item)
    assert isinstance(item, list)
    head = struct.pack("<I", TYPE_ARRAY)
    if item and isinstance(item[0], str):
        return head + struct.pack("<IQ", TYPE_STRING, len(item)) + b"".join(map(string, item))
    if item and isinstance(item[0], bool):
        return head + struct.pack("<IQ", TYPE_BOOL, len(item)) + bytes(item)
    code, kind = ("f", TYPE_F32) if item and isinstance(item[0], float) else ("i", TYPE_I32)
    return head + struct.pack(f"<IQ{len(item)}{code}", kind, len(item), *item)


def build(
    metadata: dict[str, object],
    tensors: dict[str, tuple[tuple[int, ...], int]] | None = None,
    *,
    version: int = 3,
    with_data: bool = True,
) -> bytes:
    """A whole file; tensors as ``name -> (shape, ggml type)``, their data zeros."""
    tensors = tensors or {}
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    out += b"".join(string(key) + value(item) for key, item in metadata.items())
    offset = 0
    for name, (shape, kind) in tensors.items():
        block, size = _BLOCKS[kind]
        elements = 1
        for dimension in shape:
            elements *= dimension
        out += string(name) + struct.pack(f"<I{len(shape)}QI", len(shape), *shape, kind)
        out += struct.pack("<Q", offset)
        offset = -(-(offset + elements // block * size) // 32) * 32
    out = out.ljust(-(-len(out) // 32) * 32, b"\0")
    return out + (bytes(offset) if with_data else b"")


LLAMA: dict[str, object] = {
    "general.architecture": "llama",
    "general.name": "Small Llama",
    "general.file_type": 15,
    "general.tags": ["text-generation", "한국어"],
    "llama.block_count": 2,
    "llama.context_length": 4096,
    "llama.embedding_length": 256,
    "llama.feed_forward_length": 512,
    "llama.attention.head_count": 8,
    "llama.attention.head_count_kv": 2,
    "llama.rope.freq_base": 10000.0,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "qwen2",
    "tokenizer.ggml.tokens": [f"token{n}" for n in range(300)],
    "tokenizer.ggml.token_type": [1] * 300,
    "tokenizer.chat_template": "{% if tools %}{{ tools }}{% endif %}<think>{{ messages }}",
}
LLAMA_TENSORS = {
    "token_embd.weight": ((256, 300), Q6_K),
    "blk.0.attn_q.weight": ((256, 256), Q4_K),
    "blk.0.attn_norm.weight": ((256,), F32),
    "blk.1.attn_q.weight": ((256, 256), Q4_K),
    "output.weight": ((256, 300), Q6_K),
}
