"""What a damaged, truncated or hostile file does: one clear error, quickly, in little memory."""

from __future__ import annotations

import errno
import os
import struct
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gguf_bytes import LLAMA, LLAMA_TENSORS, Q4_K, build, string
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local_ai_suite.errors import GgufError
from local_ai_suite.gguf import read_gguf

if TYPE_CHECKING:
    from collections.abc import Callable

GOOD = build(LLAMA, LLAMA_TENSORS)
HUGE = 1 << 60
# What one header may cost at most, whatever it claims. A sound one of this size costs under 3 MiB.
MOST_BYTES = 32 << 20


def header(tensors: int, keys: int, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys)


@pytest.fixture
def read(tmp_path: Path) -> Callable[[bytes], None]:
    path = tmp_path / "model.gguf"

    def read_bytes(data: bytes) -> None:
        path.write_bytes(data)
        model = read_gguf(path)
        # Everything that asks the metadata, too.
        _ = (model.quantization, model.head_count_kv, model.has_fim, model.chat_features)
        _ = (model.is_embedding, model.vocabulary_size, model.tokenizer, model.name, model.type)

    return read_bytes


@pytest.mark.parametrize(
    ("data", "message", "hint"),
    [
        (b"", "is empty", "download"),
        (b"GG", "not a GGUF file", "download"),
        (b"<!DOCTYPE html>", "but a web page", "download it again"),
        (b"\xef\xbb\xbf\n <html>", "but a web page", "download it again"),
        (b'{"error":"Invalid credentials"}', "but an error message", "download"),
        (b"Entry not found", "but an error message", "download"),
        (b"version https://git-lfs.github.com/spec/v1", "but a Git LFS pointer", "git lfs pull"),
        (b"versions of things", "starts with b'vers'", "download"),
        (b"ggjt\x03\0\0\0", "a GGML file from before August 2023", "GGUF of the same"),
        (b"PK\x03\x04", "but a zip archive", "Unpack"),
        (bytes(200), "but zeros", "fetch the file again"),
        (b"GGUF\0\0\0\x03" + bytes(16), "big-endian", "little-endian"),
        (header(0, 0, version=1), "GGUF version 1", "current"),
        (header(0, 0, version=77), "GGUF version 77", "current"),
        (header(HUGE, 0), "claims 1152921504606846976 tensors", "damaged"),
        (header(0, HUGE), "metadata keys", "damaged"),
        (header(0, 1), "within its header", "damaged"),
        (header(0, 1) + struct.pack("<Q", HUGE), "limit", "damaged"),
        (header(0, 1) + string("k") + struct.pack("<IQ", 8, HUGE), "limit", "damaged"),
        (header(0, 1) + string("k") + struct.pack("<IIQ", 9, 8, HUGE), "strings", "damaged"),
        (header(0, 1) + string("k") + struct.pack("<IIQ", 9, 0, HUGE), "within its header", "dam"),
        (header(0, 1) + string("k") + struct.pack("<IIQ", 9, 9, 1), "unknown type 9", "damaged"),
        (header(0, 1) + string("k") + struct.pack("<I", 99), "unknown type 99", "damaged"),
        (header(1, 0) + string("t") + struct.pack("<I", 5), "5 dimensions", "damaged"),
        (header(1, 0) + string("t") + struct.pack("<IQIQ", 1, 1, 99, 0), "type 99", "newer engine"),
        (header(1, 0) + string("t") + struct.pack("<IQIQ", 1, 3, 2, 0), "multiple of Q4_0", "dam"),
        (header(1, 0) + string("t") + struct.pack("<IQIQ", 1, 1, 0, 7), "unaligned", "damaged"),
        (
            header(1, 0) + string("t") + struct.pack("<I4QIQ", 4, *([HUGE] * 4), 0, 0),
            "impossible shape",
            "damaged",
        ),
        (build({"general.alignment": 24}), "not a power of two", "damaged"),
        (build({"general.architecture": 3}), "not text", "damaged"),
        (build({"general.name": "x"}), "names no architecture", "another GGUF"),
    ],
)
def test_each_damage_has_its_own_message_and_hint(
    read: Callable[[bytes], None], data: bytes, message: str, hint: str
) -> None:
    with pytest.raises(GgufError, match=message) as caught:
        read(data)
    assert hint in caught.value.hint
    assert "model.gguf" in caught.value.message


def test_duplicate_keys_and_tensors_are_refused(read: Callable[[bytes], None]) -> None:
    key = string("k") + struct.pack("<I?", 7, True)
    with pytest.raises(GgufError, match="duplicate"):
        read(header(0, 2) + key + key)
    row = string("t") + struct.pack("<IQIQ", 1, 1, 0, 0)
    with pytest.raises(GgufError, match="there twice"):
        read(header(2, 0) + row + row + bytes(64))


def test_a_truncated_download_says_so_at_every_length(read: Callable[[bytes], None]) -> None:
    tail = len(GOOD) - 300 * 210  # the end of the last tensor but one
    lengths = [*range(1, tail, 97), tail, len(GOOD) - 64]
    for length in lengths:
        with pytest.raises(GgufError) as caught:
            read(GOOD[:length])
        if length >= 8:
            assert caught.value.details["truncated"], length
    read(GOOD)


@pytest.mark.parametrize(
    ("tensor_bytes", "kept", "words"),
    [(453_000_000, 95_600_000, "95 of 453 MB"), (453_000_000, 452_999_999, "452 of 453 MB"),
     (453_000_000, 453_000_050, "453,000,050 of 453,000,080 bytes"),
     (18_000_000_000, 3_000_000_000, "3 of 18 GB"), (720_000, 100_000, "100 of 720 KB")],
)  # fmt: skip
def test_a_file_that_is_not_whole_says_how_much_of_it_is_there(
    tmp_path: Path, tensor_bytes: int, kept: int, words: str
) -> None:
    rows = tensor_bytes // 144
    head = header(1, 1) + string("general.architecture") + struct.pack("<I", 8) + string("llama")
    head += string("t") + struct.pack("<IQQIQ", 2, 256, rows, 12, 0)  # Q4_K: 144 bytes a block
    path = tmp_path / "model.gguf"
    path.write_bytes(head)
    os.truncate(path, kept)  # a hole: the data is never read
    with pytest.raises(GgufError, match="is not whole") as caught:
        read_gguf(path)
    assert f"{words} are there" in caught.value.message
    assert "pull" not in caught.value.hint  # whether it was ever pulled, nobody knows


def test_padding_cut_off_after_the_last_tensor_is_no_damage(read: Callable[[bytes], None]) -> None:
    data = build({"general.architecture": "llama"}, {"a": ((256, 1), Q4_K)})
    read(data[: len(data) - 16])  # 144 bytes of data, padded to 160


def test_the_error_names_the_offset(read: Callable[[bytes], None]) -> None:
    with pytest.raises(GgufError) as caught:
        read(header(0, 1) + string("k") + struct.pack("<I", 99))
    assert caught.value.details["offset"] == 24 + 9 + 4


@pytest.mark.parametrize("count", [1 << 40, 1 << 63, (1 << 64) - 1])
@pytest.mark.parametrize("kind", [0, 4, 7, 8, 10, 12])
def test_a_claimed_length_costs_nothing(
    read: Callable[[bytes], None], kind: int, count: int
) -> None:
    data = header(0, 1) + string("k") + struct.pack("<IIQ", 9, kind, count) + bytes(100_000)
    tracemalloc.start()
    try:
        with pytest.raises(GgufError):
            read(data)
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()


def test_a_sparse_gigabyte_of_empty_strings_ends_quickly(tmp_path: Path) -> None:
    path = tmp_path / "sparse.gguf"
    head = header(0, 1) + string("k") + struct.pack("<IIQ", 9, 8, 100_000_000)
    path.write_bytes(head)
    os.truncate(path, 1 << 30)
    started = time.process_time()
    with pytest.raises(GgufError, match="8000000 is the limit"):
        read_gguf(path)
    assert time.process_time() - started < 5  # a bound against hanging, not a measurement


def test_a_sparse_header_is_not_read_without_end(tmp_path: Path) -> None:
    path = tmp_path / "sparse.gguf"
    path.write_bytes(header(0, 1) + string("k") + struct.pack("<IIQ", 9, 0, 1 << 32))
    os.truncate(path, 1 << 33)
    with pytest.raises(GgufError, match="header is longer than"):
        read_gguf(path)


def test_a_folder_a_pipe_and_a_missing_file_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(GgufError, match="does not exist"):
        read_gguf(tmp_path / "none.gguf")
    with pytest.raises(GgufError, match="is a folder"):
        read_gguf(tmp_path)
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(GgufError, match="is not a file"):
        read_gguf(tmp_path / "pipe.gguf")


def _raises(number: int) -> Callable[..., object]:
    def fail(*_: object, **__: object) -> object:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.EACCES, "chmod u+r"),
        (errno.EPERM, "chmod u+r"),
        (errno.EIO, "still plugged in"),
        (errno.ESTALE, "still plugged in"),
        (errno.EMFILE, "too many files open"),
        (errno.EBADMSG, "ls -l"),
    ],
)
def test_the_hint_for_an_unreadable_file_fits_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, hint: str
) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(GOOD)
    monkeypatch.setattr(Path, "open", _raises(number))
    with pytest.raises(GgufError, match="cannot be read") as caught:
        read_gguf(path)
    assert hint in caught.value.hint


def test_names_that_no_file_can_have_are_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(GgufError) as caught:
        read_gguf(tmp_path / ("x" * 300 + ".gguf"))
    assert "that long" in caught.value.hint
    with pytest.raises(GgufError, match="cannot be the name"):
        read_gguf(tmp_path / "a\0b.gguf")
    (tmp_path / "ring.gguf").symlink_to(tmp_path / "ring.gguf")
    with pytest.raises(GgufError) as caught:
        read_gguf(tmp_path / "ring.gguf")
    assert "circle" in caught.value.hint


FUZZ = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@FUZZ
@given(
    edits=st.lists(
        st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=8
    )
)
def test_a_valid_file_with_changed_bytes_reads_or_raises_gguf_error(
    read: Callable[[bytes], None], edits: list[tuple[int, int]]
) -> None:
    data = bytearray(GOOD)
    for place, byte in edits:
        # Most of the file is tensor data: aim at the header.
        data[place % 12_000 if place % 2 else place % 700] = byte
    _reads_or_raises(read, bytes(data))


@FUZZ
@given(
    place=st.integers(8, 12_000),
    word=st.sampled_from([0, 1, HUGE, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 1 << 32, 255]),
    width=st.sampled_from(["<I", "<Q"]),
)
def test_a_valid_file_with_a_hostile_number_reads_or_raises_gguf_error(
    read: Callable[[bytes], None], place: int, word: int, width: str
) -> None:
    data = bytearray(GOOD)
    struct.pack_into(width, data, place, word & (0xFFFFFFFF if width == "<I" else (1 << 64) - 1))
    _reads_or_raises(read, bytes(data))


@FUZZ
@given(tail=st.binary(max_size=600), tensors=st.integers(0, 3), keys=st.integers(0, 5))
def test_random_bytes_after_the_magic_read_or_raise_gguf_error(
    read: Callable[[bytes], None], tail: bytes, tensors: int, keys: int
) -> None:
    _reads_or_raises(read, header(tensors, keys) + tail)


def _reads_or_raises(read: Callable[[bytes], None], data: bytes) -> None:
    caught: GgufError | None = None
    tracemalloc.start()
    try:
        read(data)
    except GgufError as exc:
        caught = exc
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MOST_BYTES
    assert caught is None or (caught.message and caught.hint)
