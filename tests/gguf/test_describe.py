"""What `lais models inspect` says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gguf_bytes import LLAMA, LLAMA_TENSORS, Q4_K, build

from local_ai_suite.gguf import describe, description_text, read_gguf

if TYPE_CHECKING:
    from pathlib import Path


def test_the_description_has_the_facts_and_the_sizes(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(build(LLAMA, LLAMA_TENSORS))
    found = describe(read_gguf(path))
    assert (found.layers, found.heads, found.heads_kv) == (2, 8, 2)
    assert found.bytes_per_layer == (256 * 144 + 256 * 4, 256 * 144)
    assert found.bytes_by_part["embedding"] == found.bytes_by_part["output"] == 300 * 210
    assert sum(found.bytes_by_part.values()) == sum(found.bytes_by_format.values())
    assert (found.tools, found.thinking, found.fim) == (True, True, False)
    text = description_text(found)
    assert "8 (2 for keys and values)" in text
    assert "chat, tools, thinking" in text
    assert "Q4_K_M" in text


def test_what_the_header_does_not_say_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(build({"general.architecture": "llama"}, {"a": ((256, 1), Q4_K)}))
    text = description_text(describe(read_gguf(path)))
    assert "None" not in text
    assert "heads" not in text
    assert "plain completion" in text


def test_a_file_without_tensors_is_described(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(build({"general.architecture": "llama"}))
    assert "0 B" not in description_text(describe(read_gguf(path))).split("size by part")[1]
