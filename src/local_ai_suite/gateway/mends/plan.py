"""What a mend is made of; see the package's docstring for how the relay uses it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

EVENT_STREAM = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Target:
    """The model under the name that the client said, and under the name that the engine knows."""

    public: str
    engine: str


class Stream(Protocol):
    """One answer's incremental transform; bytes may be cut anywhere, also inside a character."""

    def feed(self, chunk: bytes) -> bytes:
        """What to send for this chunk; empty when nothing is whole yet."""
        ...

    def finish(self) -> bytes:
        """What is still to be sent when the upstream has ended well."""
        ...

    def fail(self, error: Mapping[str, Any]) -> bytes:
        """How this protocol says in mid-stream that it failed.

        ``error`` is OpenAI's inner object: message, type, param, code. Nothing follows it.
        """
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """The gateway answers this itself (a refusal, mostly) and asks the engine nothing."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Mend:
    """What to send instead, and how to put the answer right.

    ``path`` is the engine's path, ``body`` the new request, ``streams`` whether it asks for a
    stream. A 200 goes whole through ``answer``, or chunk by chunk through a new ``stream()`` when
    the upstream's content type is ``text/event-stream``. ``stream_type`` is the content type of
    what comes out of it; SSE comments as heartbeats fit only :data:`EVENT_STREAM`.
    """

    names: tuple[str, ...]
    path: str
    body: bytes
    streams: bool
    answer: Callable[[bytes], bytes]
    stream: Callable[[], Stream]
    stream_type: str = EVENT_STREAM

    def then(self, outer: Mend) -> Mend:
        """This mend next to the engine and ``outer`` next to the client."""
        return replace(
            outer,
            names=self.names + outer.names,
            path=self.path,
            body=self.body,
            answer=lambda body: outer.answer(self.answer(body)),
            stream=lambda: _Chained(self.stream(), outer.stream()),
        )


class _Chained:
    def __init__(self, inner: Stream, outer: Stream) -> None:
        self._inner = inner
        self._outer = outer

    def feed(self, chunk: bytes) -> bytes:
        made = self._inner.feed(chunk)
        return self._outer.feed(made) if made else b""

    def finish(self) -> bytes:
        made = self._inner.finish()
        return (self._outer.feed(made) if made else b"") + self._outer.finish()

    def fail(self, error: Mapping[str, Any]) -> bytes:
        return self._outer.fail(error)


class Untouched:
    """The stream of a mend that changes the request alone; ``fail`` is the route's own event."""

    def __init__(self, fail: Callable[[Mapping[str, Any]], bytes]) -> None:
        self._fail = fail

    def feed(self, chunk: bytes) -> bytes:
        return chunk

    def finish(self) -> bytes:
        return b""

    def fail(self, error: Mapping[str, Any]) -> bytes:
        return self._fail(error)
