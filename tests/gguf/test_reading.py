"""What a sound file says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from gguf_bytes import LLAMA, LLAMA_TENSORS, Q4_K, Q8_0, build

from local_ai_suite.demo import write_scripted_gguf
from local_ai_suite.errors import GgufError
from local_ai_suite.gguf import Skipped, read_gguf, split_name

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return write(tmp_path / "llama.gguf", build(LLAMA, LLAMA_TENSORS))


def test_the_header_tells_the_architecture(llama: Path) -> None:
    model = read_gguf(llama)
    assert (model.architecture, model.name, model.version) == ("llama", "Small Llama", 3)
    assert (model.block_count, model.context_length, model.embedding_length) == (2, 4096, 256)
    assert (model.head_count, model.head_count_kv) == (8, 2)
    assert model.tokenizer == "gpt2 (qwen2)"
    assert model.vocabulary_size == 300
    assert model.metadata.texts("general.tags") == ("text-generation", "한국어")
    assert model.size_bytes == llama.stat().st_size


def test_the_tensor_table_has_shapes_sizes_and_places(llama: Path) -> None:
    model = read_gguf(llama)
    embedding = model.tensors[0]
    assert (embedding.name, embedding.shape, embedding.ggml_type.name) == (
        "token_embd.weight",
        (256, 300),
        "Q6_K",
    )
    assert embedding.n_bytes == 300 * 210
    assert model.parameters == 2 * 256 * 300 + 2 * 256 * 256 + 256
    ends = [0, *(t.offset + t.n_bytes for t in model.tensors)]
    assert all(end <= t.offset for end, t in zip(ends, model.tensors, strict=False))
    assert ends[-1] <= model.size_bytes


def test_version_2_reads_the_same(tmp_path: Path) -> None:
    model = read_gguf(write(tmp_path / "v2.gguf", build(LLAMA, LLAMA_TENSORS, version=2)))
    assert (model.version, model.block_count) == (2, 2)


def test_long_arrays_are_skipped_and_counted(llama: Path) -> None:
    metadata = read_gguf(llama).metadata
    assert metadata["tokenizer.ggml.tokens"] == Skipped("string", 300)
    assert metadata.count("tokenizer.ggml.token_type") == 300


def test_absent_is_none_and_a_wrong_type_is_an_error(llama: Path) -> None:
    metadata = read_gguf(llama).metadata
    assert metadata.integer("llama.expert_count") is None
    with pytest.raises(GgufError, match=r"llama\.block_count holds 2, not text"):
        metadata.text("llama.block_count")
    with pytest.raises(GgufError, match=r"general\.name"):
        metadata.integer("general.name")


def test_head_counts_may_differ_by_layer(tmp_path: Path) -> None:
    data = build({**LLAMA, "llama.attention.head_count_kv": [0, 4, 2]})
    model = read_gguf(write(tmp_path / "a.gguf", data))
    assert model.head_count_kv == 4
    assert model.metadata.integers("llama.attention.head_count_kv") == (0, 4, 2)


@pytest.mark.parametrize(
    ("file_type", "kinds", "said"),
    [
        (15, {"a": ((256, 8), Q4_K)}, "Q4_K_M"),
        (None, {"a": ((256, 8), Q4_K), "b": ((256, 4), Q8_0)}, "Q4_K"),
        (1, {"a": ((256, 8), Q4_K)}, "Q4_K"),  # a stale value of the file it was made from
        (999, {"a": ((256, 8), Q8_0)}, "Q8_0"),
        (7, {"a": ((256, 8), Q4_K)}, "Q4_K"),
        (17, {"a": ((256, 8), Q4_K)}, "Q4_K"),  # Q5_K_M without any Q5_K
        (27, {"a": ((256, 8), Q4_K)}, "IQ3_M"),  # a mix without a format of its own
        (7, {}, "Q8_0"),
    ],
)
def test_quantization_is_what_the_tensors_bear_out(
    tmp_path: Path, file_type: int | None, kinds: dict[str, tuple[tuple[int, ...], int]], said: str
) -> None:
    metadata: dict[str, object] = {"general.architecture": "llama"}
    if file_type is not None:
        metadata["general.file_type"] = file_type
    assert read_gguf(write(tmp_path / "q.gguf", build(metadata, kinds))).quantization == said


def test_chat_features_come_from_the_template(llama: Path, tmp_path: Path) -> None:
    features = read_gguf(llama).chat_features
    assert features
    assert (features.tools, features.thinking) == (True, True)
    plain = build({**LLAMA, "tokenizer.chat_template": "{{ messages }}"})
    features = read_gguf(write(tmp_path / "p.gguf", plain)).chat_features
    assert features
    assert (features.tools, features.thinking) == (False, False)


@pytest.mark.parametrize(
    ("extra", "found"),
    [
        ({}, False),
        ({"tokenizer.ggml.fim_pre_token_id": 1, "tokenizer.ggml.fim_suf_token_id": 2}, True),
        ({"tokenizer.ggml.prefix_token_id": 1}, False),
    ],
)
def test_fim_is_found_by_token_ids(tmp_path: Path, extra: dict[str, object], found: bool) -> None:
    data = build({**LLAMA, **extra})
    assert read_gguf(write(tmp_path / "f.gguf", data)).has_fim is found


def test_fim_is_found_by_the_tokens_themselves(tmp_path: Path) -> None:
    tokens = [f"t{n}" for n in range(300)] + ["<|fim_prefix|>", "<|fim_suffix|>"]
    data = build({**LLAMA, "tokenizer.ggml.tokens": tokens})
    assert read_gguf(write(tmp_path / "f.gguf", data)).has_fim
    glued = [f"x{text}" for text in tokens]  # a longer token that contains one is not one
    data = build({**LLAMA, "tokenizer.ggml.tokens": glued})
    assert not read_gguf(write(tmp_path / "g.gguf", data)).has_fim


def test_an_encoder_and_a_pooling_model_are_for_embeddings(llama: Path, tmp_path: Path) -> None:
    assert not read_gguf(llama).is_embedding
    bert = {"general.architecture": "bert", "bert.pooling_type": 2}
    model = read_gguf(write(tmp_path / "b.gguf", build(bert)))
    assert (model.is_embedding, model.pooling_type) == (True, "cls")
    qwen = {"general.architecture": "qwen3", "qwen3.pooling_type": 3}
    assert read_gguf(write(tmp_path / "q.gguf", build(qwen))).is_embedding


def test_a_projector_is_told_from_a_model(tmp_path: Path) -> None:
    model = read_gguf(write(tmp_path / "mmproj.gguf", build({"general.architecture": "clip"})))
    assert model.is_projector


def test_the_suites_own_generated_model_reads(tmp_path: Path) -> None:
    path = tmp_path / "s.gguf"
    write_scripted_gguf(path)
    model = read_gguf(path)
    assert model.block_count
    assert model.chat_template
    assert model.tensors


class TestSplitModels:
    def shards(self, folder: Path, *, tensors: int = 4) -> list[Path]:
        per_file = {"split.count": 2, "split.tensors.count": tensors}
        first = {f"blk.0.{n}.weight": ((256, 2), Q4_K) for n in "ab"}
        second = {f"blk.1.{n}.weight": ((256, 2), Q4_K) for n in "ab"}
        return [
            write(folder / "m-00001-of-00002.gguf",
                  build({**LLAMA, "split.no": 0, **per_file}, first)),
            write(folder / "m-00002-of-00002.gguf", build({"split.no": 1, **per_file}, second)),
        ]  # fmt: skip

    def test_all_files_are_read_as_one_model(self, tmp_path: Path) -> None:
        paths = self.shards(tmp_path)
        model = read_gguf(paths[0])
        assert model.shards == tuple(paths)
        assert [t.shard for t in model.tensors] == [0, 0, 1, 1]
        assert model.size_bytes == sum(p.stat().st_size for p in paths)

    def test_a_later_file_names_the_first(self, tmp_path: Path) -> None:
        with pytest.raises(GgufError, match="file 2 of 2") as caught:
            read_gguf(self.shards(tmp_path)[1])
        assert "m-00001-of-00002.gguf" in caught.value.hint

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        paths = self.shards(tmp_path)
        paths[1].unlink()
        with pytest.raises(GgufError, match=r"1 of its 2 files are missing: m-00002"):
            read_gguf(paths[0])

    def test_files_of_different_downloads_are_noticed(self, tmp_path: Path) -> None:
        with pytest.raises(GgufError, match="hold 4 tensors, 5 belong"):
            read_gguf(self.shards(tmp_path, tensors=5)[0])

    def test_a_renamed_first_file_is_told(self, tmp_path: Path) -> None:
        renamed = self.shards(tmp_path)[0].rename(tmp_path / "nice-name.gguf")
        with pytest.raises(GgufError, match="cannot be found") as caught:
            read_gguf(renamed)
        assert "original names" in caught.value.hint

    def test_names_are_parsed(self, tmp_path: Path) -> None:
        name = split_name(tmp_path / "a-b-00002-of-00010.gguf")
        assert name
        assert (name.prefix, name.number, name.count) == ("a-b", 2, 10)
        assert name.sibling(1) == "a-b-00001-of-00010.gguf"
        assert split_name(tmp_path / "a.gguf") is None
