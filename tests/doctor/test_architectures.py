"""Which architectures an engine knows, from its own files."""

from __future__ import annotations

from pathlib import Path

from local_ai_suite.doctor.architectures import unknown_architectures
from local_ai_suite.engines.find import FoundEngine

EMBEDDED = FoundEngine("embedded", ("python",), "it is installed")


def native(program: Path) -> FoundEngine:
    return FoundEngine("path", (str(program),), "it is on PATH")


def test_the_embedded_engine_knows_what_llama_cpp_knows() -> None:
    known = ["llama", "qwen2", "qwen3", "gemma3", "phi3", "nomic-bert", "bert", "deepseek2"]
    assert unknown_architectures(EMBEDDED, known) == frozenset()
    assert unknown_architectures(EMBEDDED, ["llama", "of-2031"]) == {"of-2031"}


def test_a_programs_libraries_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "lib").mkdir()
    program = tmp_path / "bin" / "llama-server"
    program.write_bytes(b"code")
    (tmp_path / "lib" / "libllama.so.0").write_bytes(b"..llama\0qwen2\0")
    assert unknown_architectures(native(program), ["qwen2", "new"]) == {"new"}


def test_an_engine_that_cannot_be_read_is_not_judged(tmp_path: Path) -> None:
    script = tmp_path / "llama-server"
    script.write_text("#!/bin/sh\n")
    assert unknown_architectures(native(script), ["new"]) == frozenset()
    assert unknown_architectures(native(tmp_path / "gone"), ["new"]) == frozenset()
