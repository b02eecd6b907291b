"""The embedding model is built from the package's files; here from a tiny network of that form."""

from __future__ import annotations

import hashlib
import json
import math
import random
import struct
from typing import TYPE_CHECKING

import pytest

from local_ai_suite.demo import embedding
from local_ai_suite.errors import ModelError, NetworkError
from local_ai_suite.gguf import read_gguf

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    import httpx

WIDTH, HIDDEN, LAYERS, POSITIONS = 32, 64, 2, 64
# llama.cpp takes the first 104 tokens' places for granted, as in BERT's own vocabulary.
VOCABULARY = [
    "[PAD]",
    *(f"[unused{n}]" for n in range(99)),
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *["the", "port", "gate", "##way", "of", "is", "a", "open"],
]


def _dot(left: list[float], right: list[float]) -> float:
    return sum(x * y for x, y in zip(left, right, strict=True))


def _package(folder: Path) -> Path:
    """The package's files with random weights."""
    rng = random.Random(3)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(VOCABULARY), WIDTH),
        "embeddings.position_embeddings.weight": (POSITIONS, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "embeddings.LayerNorm.weight": (WIDTH,),
        "embeddings.LayerNorm.bias": (WIDTH,),
        "pooler.dense.weight": (WIDTH, WIDTH),
    }
    for layer in range(LAYERS):
        for part, rows, columns in (
            ("attention.self.query", WIDTH, WIDTH),
            ("attention.self.key", WIDTH, WIDTH),
            ("attention.self.value", WIDTH, WIDTH),
            ("attention.output.dense", WIDTH, WIDTH),
            ("intermediate.dense", HIDDEN, WIDTH),
            ("output.dense", WIDTH, HIDDEN),
        ):
            shapes[f"encoder.layer.{layer}.{part}.weight"] = (rows, columns)
            shapes[f"encoder.layer.{layer}.{part}.bias"] = (rows,)
        for part in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"encoder.layer.{layer}.{part}.weight"] = (WIDTH,)
            shapes[f"encoder.layer.{layer}.{part}.bias"] = (WIDTH,)
    header, body = {}, b""
    for name, shape in shapes.items():
        count = math.prod(shape)
        data = struct.pack(f"<{count}f", *(rng.gauss(0, 0.3) for _ in range(count)))
        offsets = [len(body), len(body) + len(data)]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": offsets}
        body += data
    raw = json.dumps(header).encode()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(raw)) + raw + body)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    config = {
        "hidden_size": WIDTH,
        "intermediate_size": HIDDEN,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": POSITIONS,
        "num_attention_heads": 4,
        "num_hidden_layers": LAYERS,
        "type_vocab_size": 2,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = _package(tmp_path / "package")
    for name, file in (
        ("WEIGHTS_SHA256", "model.safetensors"),
        ("VOCABULARY_SHA256", "vocab.txt"),
    ):
        digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
        monkeypatch.setattr(embedding, name, digest)
    return folder


def test_is_built_once_and_then_taken_from_the_cache(package: Path, tmp_path: Path) -> None:
    fetched = []

    def fetch(folder: Path) -> Path:
        fetched.append(folder)
        return package

    cache = tmp_path / "cache"
    first = embedding.build_embedding_gguf(cache, fetch)
    assert embedding.build_embedding_gguf(cache, fetch) == first
    assert len(fetched) == 1
    assert [path.name for path in cache.iterdir()] == [embedding.FILE_NAME]
    metadata = read_gguf(first).metadata
    assert metadata["general.architecture"] == "bert"
    assert metadata["bert.pooling_type"] == 1


def test_the_engine_serves_it_as_an_embedding_model(
    package: Path,
    tmp_path: Path,
    serve: Callable[..., AbstractContextManager[httpx.Client]],
) -> None:
    path = embedding.build_embedding_gguf(tmp_path / "cache", lambda _: package)
    with serve(path, 64, "embedding") as client:
        tokens = client.post("/tokenize", json={"content": "the gateway", "add_special": True})
        words = [VOCABULARY[token] for token in tokens.json()["tokens"]]
        assert words == ["[CLS]", "the", "gate", "##way", "[SEP]"]
        reply = client.post("/v1/embeddings", json={"input": ["the port", "the port", "open"]})
    one, same, other = (item["embedding"] for item in reply.json()["data"])
    assert len(one) == WIDTH
    assert math.isclose(_dot(one, one), 1, rel_tol=1e-4)
    assert _dot(one, same) > 0.9999 > _dot(one, other)


def test_other_weights_than_the_expected_are_refused(package: Path, tmp_path: Path) -> None:
    with (package / "model.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ModelError, match="not the one that was expected"):
        embedding.build_embedding_gguf(tmp_path / "cache", lambda _: package)
    assert list((tmp_path / "cache").iterdir()) == []


def test_an_index_that_cannot_be_reached_is_a_network_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding.shutil, "which", lambda _: None)
    monkeypatch.setattr(embedding.sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(NetworkError, match="could not fetch"):
        embedding.build_embedding_gguf(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
