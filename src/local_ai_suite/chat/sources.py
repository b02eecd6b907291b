"""What comes with a question: files and standard input, as text, within bounds."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from local_ai_suite.errors import UsageError
from local_ai_suite.messages import tr

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import BinaryIO

# More than any local model's context holds (a token is about 4 bytes, a context 1M tokens at most);
# it only keeps a core dump or /dev/zero from filling the memory.
LARGEST_INPUT = 8 * 1024 * 1024
_LOOKED_AT = 8192  # bytes in which a NUL tells a binary file, as git does
STDIN = tr("standard input")


@dataclass(frozen=True, slots=True)
class Source:
    """A file or standard input. ``cut_from``: characters it had before it was cut."""

    name: str
    text: str
    note: str = ""
    cut_from: int | None = None

    def cut_to(self, characters: int) -> Source:
        """The first ``characters`` of it, at a line's end where one is near."""
        if characters >= len(self.text):
            return self
        kept = self.text[:characters]
        line_end = kept.rfind("\n")
        if line_end > characters * 0.8:
            kept = kept[: line_end + 1]
        return replace(self, text=kept, cut_from=self.cut_from or len(self.text))


def read_file(path: Path) -> Source:
    """The file's text. Raises :class:`UsageError` for what is no readable text of sensible size."""
    try:
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            raise UsageError(
                tr("{path} is a folder", path=path),
                hint=tr("Name its files: `lais ai -f FOLDER/*.py ...`."),
            )
        # A pipe is `-f <(command)`; a device never ends.
        if not (stat.S_ISREG(kind) or stat.S_ISFIFO(kind)):
            raise UsageError(tr("{path} is neither a file nor a pipe", path=path))
        with path.open("rb") as stream:
            return read_stream(stream, str(path))
    except OSError as exc:
        raise UsageError(
            tr("{path} cannot be read: {strerror}", path=path, strerror=exc.strerror or exc),
            hint=tr("Check the name after -f."),
        ) from exc


def read_stream(stream: BinaryIO, name: str = STDIN) -> Source:
    """What ``stream`` holds, as text."""
    raw = stream.read(LARGEST_INPUT + 1)
    if len(raw) > LARGEST_INPUT:
        raise UsageError(
            tr(
                "{name} is larger than {size} MiB, more than any context holds",
                name=name,
                size=LARGEST_INPUT >> 20,
            ),
            hint=tr("Send the part that matters: `head -c 100000 FILE | lais ai ...`."),
        )
    return decode(raw, name)


def decode(raw: bytes, name: str) -> Source:
    """UTF-8, UTF-16 with its mark, or CP949 (Korean Windows), said in ``note``."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return Source(name, raw.decode("utf-16"), tr("read as UTF-16"))
        except UnicodeDecodeError as exc:
            raise _binary(name) from exc
    if b"\0" in raw[:_LOOKED_AT]:
        raise _binary(name)
    try:
        return Source(name, raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        pass
    try:
        return Source(name, raw.decode("cp949"), tr("read as CP949"))
    except UnicodeDecodeError as exc:
        raise _binary(name) from exc


def _binary(name: str) -> UsageError:
    return UsageError(
        tr("{name} is not text (UTF-8, UTF-16 and CP949 were tried)", name=name),
        hint=tr("Send text; `strings FILE`, `pdftotext FILE -` or `xxd FILE` make some."),
    )


def compose(question: str, sources: Sequence[Source]) -> str:
    """One user message: the question, then each source in a fence that its text cannot close."""
    parts = [question.strip()] if question.strip() else []
    if len(sources) == 1 and not parts and sources[0].name == STDIN:
        return sources[0].text.strip("\n")
    for source in sources:
        longest = max((len(run) for run in re.findall(r"`{3,}", source.text)), default=2)
        fence = "`" * (longest + 1)
        suffix = source.name.rpartition(".")[2] if "." in source.name else ""
        language = suffix if suffix.isalnum() and len(suffix) <= 8 else ""
        text = source.text if source.text.endswith("\n") else source.text + "\n"
        if source.cut_from is not None:
            text += f"[cut: {len(source.text):,} of {source.cut_from:,} characters]\n"
        parts.append(f"{source.name}:\n{fence}{language}\n{text}{fence}")
    return "\n\n".join(parts)


def shares(budget: int, sizes: Sequence[int]) -> list[int]:
    """How much of ``budget`` each gets: small ones whole, the large ones an equal part.

    >>> shares(100, [10, 500, 40])
    [10, 50, 40]
    """
    given = [0] * len(sizes)
    left, waiting = max(budget, 0), sorted(range(len(sizes)), key=lambda index: sizes[index])
    while waiting:
        index = waiting.pop(0)
        given[index] = min(sizes[index], left // (len(waiting) + 1))
        left -= given[index]
    return given
