"""Models in several files: ``NAME-00001-of-00003.gguf`` and its siblings.

Naming and the keys ``split.no``, ``split.count`` and ``split.tensors.count`` as in llama.cpp's
``llama_split_path`` and ``tools/gguf-split``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local_ai_suite.errors import GgufError
from local_ai_suite.messages import tr

from .header import Header, read_header

if TYPE_CHECKING:
    from pathlib import Path

_NAME = re.compile(r"(?P<prefix>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")
MAX_SHARDS = 1_000


@dataclass(frozen=True, slots=True)
class SplitName:
    """What a shard's file name says; ``number`` counts from 1."""

    prefix: str
    number: int
    count: int

    def sibling(self, number: int) -> str:
        return f"{self.prefix}-{number:05d}-of-{self.count:05d}.gguf"


def split_name(path: Path) -> SplitName | None:
    """The parts of a shard's name, ``None`` for a file that stands alone."""
    match = _NAME.fullmatch(path.name)
    if not match:
        return None
    return SplitName(match["prefix"], int(match["number"]), int(match["count"]))


def read_shards(path: Path) -> tuple[Header, ...]:
    """The headers of every file of the model at ``path``, which must be the first of them."""
    first = read_header(path)
    count = first.metadata.integer("split.count")
    if count is None or count <= 1:
        return (first,)
    name = split_name(path)
    number = first.metadata.integer("split.no") or 0
    if number != 0:
        start = name.sibling(1) if name else "the first file"
        raise GgufError(
            tr(
                "{path}: this is file {number} of {count} of a split model",
                path=path,
                number=number + 1,
                count=count,
            ),
            hint=tr("Name the first file: {start}", start=start),
            path=str(path),
        )
    if name is None or name.count != count or name.number != 1:
        raise GgufError(
            tr(
                "{path}: the first of {count} files, but its name does not end in "
                "-00001-of-{count:05d}.gguf, so the others cannot be found",
                path=path,
                count=count,
            ),
            hint=tr("Give the files their original names back."),
            path=str(path),
        )
    if count > MAX_SHARDS:
        raise GgufError(
            tr("{path}: claims to be split into {count} files", path=path, count=count),
            hint=tr("It is damaged."),
        )
    paths = [path.with_name(name.sibling(n)) for n in range(1, count + 1)]
    if missing := [p.name for p in paths if not p.exists()]:
        raise GgufError(
            tr(
                "{path}: {missing} of its {count} files are missing: {names}{more}",
                path=path,
                missing=len(missing),
                count=count,
                names=", ".join(missing[:3]),
                more=" ..." if len(missing) > 3 else "",
            ),
            hint=tr("Download all files of the model into the same folder."),
            path=str(path),
            missing=missing,
        )
    headers = (first, *(read_header(p, shard=n) for n, p in enumerate(paths[1:], 1)))
    tensors = sum(len(header.tensors) for header in headers)
    expected = first.metadata.integer("split.tensors.count")
    if expected is not None and tensors != expected:
        raise GgufError(
            tr(
                "{path}: its {count} files hold {tensors} tensors, {expected} belong to the model",
                path=path,
                count=count,
                tensors=tensors,
                expected=expected,
            ),
            hint=tr("The files are not of one download; download them again."),
            path=str(path),
        )
    return headers
