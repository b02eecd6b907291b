"""Server-sent events, cut out of a byte stream; the format is WHATWG HTML, section 9.2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

DONE = b"data: [DONE]\n\n"


class EventReader:
    """Feed it bytes cut anywhere; it gives the data of every whole event, and drops comments."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        text = self._rest + chunk
        if b"\r" in text:
            # A lone \r at the end may be half of \r\n: wait for the other half.
            keep = b"\r" if text.endswith(b"\r") else b""
            text = (
                text[: len(text) - len(keep)].replace(b"\r\n", b"\n").replace(b"\r", b"\n") + keep
            )
        *events, self._rest = text.split(b"\n\n")
        return [data for event in events if (data := _data(event))]

    def finish(self) -> list[bytes]:
        """The last event when the stream ended without its empty line."""
        rest, self._rest = self._rest, b""
        data = _data(rest.rstrip(b"\r\n"))
        return [data] if data else []


class Stream:
    """One answer's incremental translation; bytes may be cut anywhere, also inside a character.

    This one changes nothing.
    """

    def feed(self, chunk: bytes) -> bytes:
        """What to send for this chunk; empty when nothing is whole yet."""
        return chunk

    def finish(self) -> bytes:
        """What is still to be sent when the upstream has ended well."""
        return b""

    def fail(self, error: Mapping[str, Any]) -> bytes | None:  # noqa: ARG002 (for who overrides it)
        """How to say in mid-stream that it failed; ``None``: as the protocol's envelope has it."""
        return None


class EventStream(Stream):
    """A translation event by event."""

    def __init__(self) -> None:
        self._reader = EventReader()

    def feed(self, chunk: bytes) -> bytes:
        return b"".join([self.event(data) for data in self._reader.feed(chunk)])

    def finish(self) -> bytes:
        return b"".join([self.event(data) for data in self._reader.finish()])

    def event(self, data: bytes) -> bytes:
        """What to send for an event's data."""
        raise NotImplementedError


class Chained(Stream):
    """``inner`` next to the engine, ``outer`` next to the client."""

    def __init__(self, inner: Stream, outer: Stream) -> None:
        self._inner = inner
        self._outer = outer

    def feed(self, chunk: bytes) -> bytes:
        made = self._inner.feed(chunk)
        return self._outer.feed(made) if made else b""

    def finish(self) -> bytes:
        made = self._inner.finish()
        return (self._outer.feed(made) if made else b"") + self._outer.finish()

    def fail(self, error: Mapping[str, Any]) -> bytes | None:
        return self._outer.fail(error)


def _data(event: bytes) -> bytes:
    lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line[:5] == b"data:"]
    return b"\n".join(lines)


def data_event(value: Any) -> bytes:
    """One event without a name, as OpenAI's chat completions have them."""
    return b"data: " + orjson.dumps(value) + b"\n\n"


def named_event(name: str, value: Any) -> bytes:
    """One event with a name, as the Responses and the Messages API have them."""
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(value) + b"\n\n"
