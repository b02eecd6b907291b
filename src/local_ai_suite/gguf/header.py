"""The bytes of one GGUF file's header, read without trusting them.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md and llama.cpp's ``gguf.h``:
magic, version, number of tensors, number of keys, the keys, the tensor table, padding, the data.
Strings are a 64-bit length and UTF-8 bytes. Everything read is checked against the file's end and
against the limits below before anything is allocated for it, so a header that claims 2^60 tensors
costs what a small one costs. The data of the tensors is never read.
"""

from __future__ import annotations

import errno
import stat
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from local_ai_suite.errors import GgufError
from local_ai_suite.messages import tr

from .ggml_types import TYPES, GgmlType
from .metadata import Metadata, Skipped, Value
from .strings import skip_strings

if TYPE_CHECKING:
    from pathlib import Path

MAGIC = b"GGUF"
OLDEST_VERSION, NEWEST_VERSION = 2, 3
DEFAULT_ALIGNMENT = 32  # GGUF_DEFAULT_ALIGNMENT

# Limits. The largest headers known (262k tokens, 514k merges) are under 20 MiB.
MAX_HEADER_BYTES = 96 << 20
MAX_KEYS = 65_536
MAX_TENSORS = 100_000  # the largest models known have some 3,000
MAX_STRINGS = 8_000_000  # in all arrays of a header together: bounds the time
MAX_KEY_BYTES = 65_535  # the format's own
MAX_TENSOR_NAME_BYTES = 63  # GGML_MAX_NAME - 1
MAX_DIMENSIONS = 4  # GGML_MAX_DIMS
# What is kept: per-layer arrays and tags are; vocabularies are skipped.
KEPT_NUMBERS = 4_096
KEPT_STRINGS = 256
KEPT_STRING_BYTES = 8 << 20

_CHUNK = 1 << 20
_TELLING_BYTES = 64  # of a file that is no GGUF: enough to see what it is
_INT64_MAX = (1 << 63) - 1
_STRING, _ARRAY = 8, 9
# gguf_type -> (struct code, name)
_SCALARS: dict[int, tuple[str, str]] = {
    0: ("B", "u8"), 1: ("b", "i8"), 2: ("H", "u16"), 3: ("h", "i16"), 4: ("I", "u32"),
    5: ("i", "i32"), 6: ("f", "f32"), 7: ("?", "bool"), 10: ("Q", "u64"), 11: ("q", "i64"),
    12: ("d", "f64"),
}  # fmt: skip
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")

DAMAGED = tr("The file is damaged or was not downloaded completely; download it again.")
CUT_SHORT = tr("A download or a copy stopped early: fetch the whole file again.")

_HELP_BY_ERRNO = {
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM),
        tr(
            "You may not read it: `ls -l` shows whose it is. `chmod u+r FILE`, or `chmod u+x` on "
            "the folders above it, lets its owner in."
        ),
    ),
    **dict.fromkeys(
        (errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN),
        tr("Its disk does not answer: is it still plugged in and mounted?"),
    ),
    errno.ELOOP: tr("It is a link that leads in a circle: `ls -l` shows where to."),
    errno.ENAMETOOLONG: tr("No file has a name that long: check what was typed."),
    errno.ENOTDIR: tr("A part of the path is a file, not a folder: check the path."),
    errno.EMFILE: tr("This program has too many files open: end something, then try again."),
}
"""What helps, by the reason that the system gives."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One row of the tensor table. ``shape`` as stored: the first is the row's length.

    ``offset`` is absolute in the file number ``shard`` (0 for a model in one file).
    """

    name: str
    shape: tuple[int, ...]
    ggml_type: GgmlType
    offset: int
    n_bytes: int
    shard: int = 0

    @property
    def elements(self) -> int:
        product = 1
        for size in self.shape:
            product *= size
        return product


@dataclass(frozen=True, slots=True)
class Header:
    """One file's header. ``data_offset`` and ``file_bytes`` in bytes from the file's start.

    ``vocabulary`` holds the raw bytes of ``tokenizer.ggml.tokens`` for look-ups.
    """

    path: Path
    version: int
    metadata: Metadata = field(repr=False)
    tensors: tuple[Tensor, ...] = field(repr=False)
    data_offset: int
    file_bytes: int
    vocabulary: bytes = field(default=b"", repr=False)


def read_header(path: Path, *, shard: int = 0) -> Header:
    """Read and check one file's header; raises :class:`GgufError` that names the offset."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # opening a pipe would wait for its writer
            what = "a folder, not a file" if stat.S_ISDIR(mode) else "not a file"
            raise GgufError(
                tr("{path} is {what}", path=path, what=what),
                hint=tr("Name a GGUF file."),
                path=str(path),
            )
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            return _Reader(path, file, size, shard).header()
    except FileNotFoundError as exc:
        raise GgufError(
            tr("{path} does not exist", path=path),
            hint=tr("Check the name, or `lais models pull` it."),
            path=str(path),
        ) from exc
    except OSError as exc:
        raise GgufError(
            tr("{path} cannot be read: {strerror}", path=path, strerror=exc.strerror or exc),
            hint=_HELP_BY_ERRNO.get(exc.errno or 0, tr("`ls -l` shows what it is and whose.")),
            path=str(path),
        ) from exc
    except ValueError as exc:  # a NUL in the name
        raise GgufError(
            tr("{path!r} cannot be the name of a file", path=str(path)),
            hint=tr("Check what was typed."),
        ) from exc


class _Reader:
    def __init__(self, path: Path, file: BinaryIO, size: int, shard: int) -> None:
        self._path = path
        self._file = file
        self._size = size
        self._shard = shard
        self._bytes = bytearray()
        self._at = 0
        self._strings = 0
        self._vocabulary = b""

    def header(self) -> Header:
        version = self._magic_and_version()
        n_tensors = self._count("tensors", MAX_TENSORS)
        n_keys = self._count("metadata keys", MAX_KEYS)
        metadata = Metadata(self._keys(n_keys), str(self._path))
        alignment = metadata.integer("general.alignment")
        alignment = DEFAULT_ALIGNMENT if alignment is None else alignment
        if not 0 < alignment <= 1 << 20 or alignment & (alignment - 1):
            raise self._error(f"the alignment is {alignment}, not a power of two")
        rows = self._tensor_rows(n_tensors)
        data_offset = -(-self._at // alignment) * alignment
        tensors = self._place(rows, data_offset, alignment)
        return Header(
            self._path, version, metadata, tensors, data_offset, self._size, self._vocabulary
        )

    def _magic_and_version(self) -> int:
        if self._size == 0:
            raise self._error("the file is empty")
        self._fetch(min(self._size, _TELLING_BYTES), "its first bytes")
        if not self._bytes.startswith(MAGIC):
            what, hint = _what_it_is(self._path, bytes(self._bytes[:_TELLING_BYTES]))
            raise self._error(f"not a GGUF file but {what}", hint=hint)
        self._at = len(MAGIC)
        version = self._u32("version")
        if version & 0xFFFF == 0 and version:
            raise self._error(
                "the file is big-endian; this machine reads little-endian GGUF",
                hint="Download the little-endian variant, or convert it with gguf-py's "
                "gguf_convert_endian.py.",
            )
        if not OLDEST_VERSION <= version <= NEWEST_VERSION:
            raise self._error(
                f"GGUF version {version}; versions {OLDEST_VERSION} and {NEWEST_VERSION} are known",
                hint="Look for a file made by a current llama.cpp converter.",
            )
        return version

    def _keys(self, count: int) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for number in range(count):
            key = self._text(f"key {number}", MAX_KEY_BYTES)
            if not key or key in values:
                raise self._error(f"metadata key {number} is {'a duplicate' if key else 'empty'}")
            values[key] = self._value(key)
        return values

    def _value(self, key: str) -> Value:
        kind = self._u32(f"type of {key}")
        if kind == _STRING:
            return self._text(f"value of {key}", KEPT_STRING_BYTES)
        if kind == _ARRAY:
            return self._array(key)
        if kind not in _SCALARS:
            raise self._error(f"metadata key {key} has the unknown type {kind}")
        return self._scalars(kind, 1, key)[0]

    def _array(self, key: str) -> Value:
        kind = self._u32(f"element type of {key}")
        count = self._u64(f"length of {key}")
        if kind == _STRING:
            return self._string_array(key, count)
        if kind not in _SCALARS:
            raise self._error(f"the array {key} has elements of the unknown type {kind}")
        if count <= KEPT_NUMBERS:
            return self._scalars(kind, count, key)
        code, name = _SCALARS[kind]
        self._skip(count * struct.calcsize(code), key)
        return Skipped(name, count)

    def _string_array(self, key: str, count: int) -> Value:
        self._strings += count
        if self._strings > MAX_STRINGS:
            raise self._error(f"the array {key} claims {count} strings; {MAX_STRINGS} is the limit")
        if count * 8 > self._size - self._at:  # each takes at least the bytes of its length
            raise self._error(
                f"the file ends within its header, in the {count} strings of {key}", truncated=True
            )
        if count <= KEPT_STRINGS:
            return tuple(self._text(f"element of {key}", KEPT_STRING_BYTES) for _ in range(count))
        start = self._at
        left = count
        while left:
            done, end = skip_strings(self._bytes, self._at, left)
            left -= done
            self._at = end
            if left:
                # Not even the next string is whole in the buffer: fetch it, or fail at the end.
                self._fetch(8, key)
                length: int = _U64.unpack_from(self._bytes, self._at)[0]
                self._fetch(8 + length, key)
        if key == "tokenizer.ggml.tokens":
            self._vocabulary = bytes(memoryview(self._bytes)[start : self._at])
        return Skipped("string", count)

    def _tensor_rows(self, count: int) -> list[tuple[str, tuple[int, ...], GgmlType, int]]:
        rows: list[tuple[str, tuple[int, ...], GgmlType, int]] = []
        seen: set[str] = set()
        for number in range(count):
            name = self._text(f"name of tensor {number}", MAX_TENSOR_NAME_BYTES)
            if name in seen:
                raise self._error(f"tensor {name} is there twice")
            seen.add(name)
            dimensions = self._u32(f"dimensions of {name}")
            if dimensions > MAX_DIMENSIONS:
                raise self._error(f"tensor {name} claims {dimensions} dimensions")
            shape = tuple(self._u64(f"shape of {name}") for _ in range(dimensions)) or (1,)
            kind = self._u32(f"type of {name}")
            if kind not in TYPES:
                raise self._error(
                    f"tensor {name} has the unknown type {kind}",
                    hint="The file may need a newer engine than this suite knows, or is damaged.",
                )
            offset = self._u64(f"offset of {name}")
            rows.append((name, shape, TYPES[kind], offset))
        return rows

    def _place(
        self,
        rows: list[tuple[str, tuple[int, ...], GgmlType, int]],
        data_offset: int,
        alignment: int,
    ) -> tuple[Tensor, ...]:
        """Sizes and absolute offsets, checked against the file's end."""
        tensors: list[Tensor] = []
        whole = 0
        for name, shape, kind, offset in rows:
            elements = 1
            for size in shape:
                elements *= size
            if elements > _INT64_MAX or max(shape) > _INT64_MAX:
                raise self._error(f"tensor {name} claims the impossible shape {shape}")
            if shape[0] % kind.block:
                raise self._error(
                    f"tensor {name} has rows of {shape[0]} elements, not a multiple of "
                    f"{kind.name}'s {kind.block}"
                )
            if offset % alignment:
                raise self._error(f"tensor {name} has the unaligned offset {offset}")
            n_bytes = elements // kind.block * kind.block_bytes
            whole = max(whole, data_offset + offset + n_bytes)
            tensors.append(Tensor(name, shape, kind, data_offset + offset, n_bytes, self._shard))
        if whole > self._size:
            raise self._error(
                f"the file is not whole: {_of(self._size, whole)} are there",
                hint=CUT_SHORT,
                truncated=True,
            )
        return tuple(tensors)

    # Primitive reads: each makes sure of its bytes first.

    def _count(self, what: str, limit: int) -> int:
        count = self._u64(f"number of {what}")
        if count > limit:
            raise self._error(f"the header claims {count} {what}; {limit} is the limit")
        return count

    def _scalars(self, kind: int, count: int, key: str) -> tuple[int | float | bool, ...]:
        layout = struct.Struct(f"<{count}{_SCALARS[kind][0]}")
        self._fetch(layout.size, key)
        values: tuple[int | float | bool, ...] = layout.unpack_from(self._bytes, self._at)
        self._at += layout.size
        return values

    def _text(self, what: str, limit: int) -> str:
        length = self._u64(f"length of {what}")
        if length > limit:
            raise self._error(f"{what} claims {length} bytes; {limit} is the limit")
        return bytes(self._take(length, what)).decode("utf-8", errors="replace")

    def _u32(self, what: str) -> int:
        self._fetch(4, what)
        value: int = _U32.unpack_from(self._bytes, self._at)[0]
        self._at += 4
        return value

    def _u64(self, what: str) -> int:
        self._fetch(8, what)
        value: int = _U64.unpack_from(self._bytes, self._at)[0]
        self._at += 8
        return value

    def _take(self, length: int, what: str) -> bytearray:
        self._fetch(length, what)
        taken = self._bytes[self._at : self._at + length]
        self._at += length
        return taken

    def _skip(self, length: int, what: str) -> None:
        self._fetch(length, what)
        self._at += length

    def _fetch(self, length: int, what: str) -> None:
        """Make sure that ``length`` bytes from here on are in memory, or say that they end."""
        end = self._at + length
        if end <= len(self._bytes):
            return
        if end > self._size:
            raise self._error(
                f"the file ends within its header, in {what} (it needs {length} bytes more, "
                f"{self._size - self._at} are there)",
                truncated=True,
            )
        if end > MAX_HEADER_BYTES:
            raise self._error(f"the header is longer than {MAX_HEADER_BYTES >> 20} MiB, in {what}")
        while len(self._bytes) < end:
            # Grows with what was really read, never with what the file claims.
            more = self._file.read(max(_CHUNK, min(end - len(self._bytes), len(self._bytes))))
            if not more:
                raise self._error("the file became shorter while it was read", truncated=True)
            self._bytes += more

    def _error(self, message: str, *, hint: str = "", truncated: bool = False) -> GgufError:
        return GgufError(
            tr("{path}: {message} (at byte {at})", path=self._path, message=message, at=self._at),
            hint=hint or DAMAGED,
            path=str(self._path),
            offset=self._at,
            truncated=truncated,
        )


def _what_it_is(path: Path, start: bytes) -> tuple[str, str]:
    """What a file that is no GGUF is, by its first bytes, and what to do then."""
    if start[:4] in {b"ggml", b"lmgg", b"tjgg", b"ggjt", b"ggmf", b"fmgg"}:
        hint = "Look for the GGUF of the same model."
        return "a GGML file from before August 2023", hint
    if start.startswith(b"version https://git-lfs"):
        hint = "It stands for the model: run `git lfs pull` beside it, or download the file."
        return "a Git LFS pointer", hint
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b"<"):
        return "a web page", "The download gave a page instead of the model: download it again."
    if text.startswith(b"{") or text[:5] in {b"Entry", b"Inval", b"Not F", b"Acces", b"Unaut"}:
        return "an error message", "Its text (`head`) says why; then download the model again."
    if path.suffix == ".safetensors":
        hint = "Convert it with llama.cpp's convert_hf_to_gguf.py, or look for a GGUF of the model."
        return "a safetensors file", hint
    if start[:2] == b"PK":
        return "a zip archive", "Unpack it, or look for a GGUF of the model."
    if not any(start):
        return "zeros", "A download or a copy left a hole: fetch the file again."
    return f"something that starts with {start[:4]!r}", DAMAGED


def _of(there: int, whole: int) -> str:
    """``95 of 453 MB``; units of 1000, as shops and hubs count."""
    unit, size = next(
        (pair for pair in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)) if whole >= 10 * pair[1]),
        ("bytes", 1),
    )
    have, all_of_it = there // size, round(whole / size)
    if have == all_of_it:  # only its last bytes are missing
        return f"{there:,} of {whole:,} bytes"
    return f"{have:,} of {all_of_it:,} {unit}"
