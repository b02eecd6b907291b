"""Writes a GGUF file, version 3, with nothing but the standard library.

Layout (ggml/docs/gguf.md): magic, version, counts, then the metadata, then one record per tensor,
then the tensors' bytes, each one starting at a multiple of `ALIGNMENT`. All numbers are
little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ALIGNMENT = 32
"""ggml's default, used when `general.alignment` isn't written."""


class TensorType(IntEnum):
    """The ggml types this project writes (ggml.h, `enum ggml_type`)."""

    F32 = 0
    F16 = 1
    Q4_0 = 2
    Q8_0 = 8


class TokenType(IntEnum):
    """llama.h, `enum llama_token_type`."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5


@dataclass(frozen=True)
class U32:
    """An unsigned 32-bit metadata value: what llama.cpp expects for counts and token ids."""

    value: int


@dataclass(frozen=True)
class I32Array:
    """A metadata array of signed 32-bit numbers, such as `tokenizer.ggml.token_type`."""

    values: Sequence[int]


@dataclass(frozen=True)
class F32Array:
    """A metadata array of 32-bit floats, such as `tokenizer.ggml.scores`."""

    values: Sequence[float]


Value = str | bool | float | U32 | I32Array | F32Array | list[str]


@dataclass(frozen=True)
class Tensor:
    """One tensor: `shape` in ggml's order (fastest axis first), `data` as it lies in the file."""

    name: str
    shape: tuple[int, ...]
    type: TensorType
    data: bytes


_STRING, _ARRAY = 8, 9


def gguf_bytes(metadata: Mapping[str, Value], tensors: Sequence[Tensor]) -> bytes:
    """The whole file. The order of both arguments is kept, so equal input gives equal bytes."""
    head = [struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(metadata))]
    for key, value in metadata.items():
        head.append(_string(key) + _value(value))
    offset = 0
    for tensor in tensors:
        dims = len(tensor.shape)
        head.append(_string(tensor.name))
        head.append(struct.pack(f"<I{dims}QIQ", dims, *tensor.shape, tensor.type, offset))
        offset += _padded(len(tensor.data))
    body = [t.data + bytes(_padded(len(t.data)) - len(t.data)) for t in tensors]
    header = b"".join(head)
    return header + bytes(_padded(len(header)) - len(header)) + b"".join(body)


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(value: Value) -> bytes:
    match value:
        case bool():
            return struct.pack("<I?", 7, value)
        case str():
            return struct.pack("<I", _STRING) + _string(value)
        case float():
            return struct.pack("<If", 6, value)
        case U32(number):
            return struct.pack("<II", 4, number)
        case I32Array(values):
            return struct.pack(f"<IIQ{len(values)}i", _ARRAY, 5, len(values), *values)
        case F32Array(numbers):
            return struct.pack(f"<IIQ{len(numbers)}f", _ARRAY, 6, len(numbers), *numbers)
        case list():
            joined = b"".join(_string(item) for item in value)
            return struct.pack("<IIQ", _ARRAY, _STRING, len(value)) + joined
