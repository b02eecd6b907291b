"""Compares the embedding GGUF, served by the real engine, with the same network run by PyTorch.

    python check_embedding.py FOLDER_OF_THE_PACKAGE/model all-MiniLM-L6-v2-f16.gguf

Prints the least cosine over sentences in several languages and lengths; exits with 1 below 0.9999.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from tokenizers import Tokenizer

SENTENCES = [
    "What port does the gateway use?", "The quick brown fox jumps over the lazy dog.", "안녕하세요", "a",
    "Tokenization of unbelievably antidisestablishmentarian words, e.g. naïve café!", "def add(a, b): return a + b",
    "  Spaces   and\nnew lines\tand tabs ", "12345 67.89 $5 50%", "日本語のテキスト", "HELLO WORLD [MASK]less ##odd",
    "One sentence that goes on for a while, so that the position embeddings matter as well. " * 5,
]  # fmt: skip
_SERVE = """
import sys, xllamacpp
p = xllamacpp.CommonParams()
p.model.path, p.n_ctx, p.n_batch, p.n_ubatch, p.n_parallel = sys.argv[1], 512, 512, 512, 1
p.embedding, p.hostnames, p.port = True, ["127.0.0.1"], 0
p.n_gpu_layers, p.fit_params, p.warmup = 0, False, False
server = xllamacpp.Server(p)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


def load(path: Path) -> dict[str, torch.Tensor]:
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    return {
        name: torch.from_numpy(
            np.frombuffer(
                raw[8 + length + f["data_offsets"][0] : 8 + length + f["data_offsets"][1]], "<f4"
            )
            .reshape(f["shape"])
            .copy()
        )
        for name, f in header.items()
        if f.get("dtype") == "F32"
    }


def reference(weights: dict[str, torch.Tensor], ids: list[int]) -> torch.Tensor:
    """BERT with 12 heads, GELU, mean pooling, length 1. `ids`: [length]; returns [384]."""

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.layer_norm(
            x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-12
        )

    at = "embeddings.{}_embeddings.weight".format
    x = (
        weights[at("word")][ids]
        + weights[at("position")][: len(ids)]
        + weights[at("token_type")][0]
    )
    x = norm(x, "embeddings.LayerNorm")
    for layer in range(6):
        p = f"encoder.layer.{layer}"
        q, k, v = (
            linear(x, f"{p}.attention.self.{n}").view(len(ids), 12, -1).transpose(0, 1)
            for n in ("query", "key", "value")
        )
        mixed = (
            F.scaled_dot_product_attention(q[None], k[None], v[None])[0]
            .transpose(0, 1)
            .reshape(len(ids), -1)
        )
        x = norm(
            x + linear(mixed, f"{p}.attention.output.dense"), f"{p}.attention.output.LayerNorm"
        )
        x = norm(
            x + linear(F.gelu(linear(x, f"{p}.intermediate.dense")), f"{p}.output.dense"),
            f"{p}.output.LayerNorm",
        )
    return F.normalize(x.mean(0), dim=0)


def main() -> None:
    folder, model = Path(sys.argv[1]), sys.argv[2]
    weights, tokenizer = (
        load(folder / "model.safetensors"),
        Tokenizer.from_file(str(folder / "tokenizer.json")),
    )
    tokenizer.no_padding()
    tokenizer.no_truncation()
    pipe = subprocess.PIPE
    worst = 1.0
    with subprocess.Popen(
        [sys.executable, "-c", _SERVE, model],
        stdin=pipe,
        stdout=pipe,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as engine:
        client = httpx.Client(base_url=engine.stdout.readline().strip(), timeout=60)
        for text in SENTENCES:
            ids = tokenizer.encode(text).ids
            theirs = client.post("/tokenize", json={"content": text, "add_special": True}).json()[
                "tokens"
            ]
            got = torch.tensor(
                client.post("/v1/embeddings", json={"input": text}).json()["data"][0]["embedding"]
            )
            cosine = F.cosine_similarity(got, reference(weights, ids), dim=0).item()
            worst = min(worst, cosine)
            print(
                f"{cosine:.6f} {'same tokens' if ids == theirs else f'tokens differ: {ids} {theirs}'} {text[:40]!r}"
            )
        engine.stdin.close()
    print(f"least cosine {worst:.6f}")
    sys.exit(worst < 0.9999)


if __name__ == "__main__":
    main()
