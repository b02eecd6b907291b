"""What the scripted model says here, and a socket that answers whatever a test wants."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass, field

from local_ai_suite.demo import DEFAULT, Rule, Say, Script

CONTEXT = 2048

SCRIPT = Script(
    rules=(
        Rule("shell joke", (Say("Why do programmers like *pipes*? They **flow**."),)),
        Rule("nonsense", (Say("@@@@ no object here @@@@"),)),
        *DEFAULT.rules,
    )
)


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass
class RawServer:
    """Answers every connection with fixed bytes; ``hold`` keeps the connection open after them.

    With ``later`` the first connection gets ``reply`` and the following ones ``later``.
    """

    reply: bytes
    hold: bool = False
    later: bytes | None = None
    requests: list[bytes] = field(default_factory=list)
    hung_up: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        self._closing = False
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while not self._closing:
                self._answer(self._listener.accept()[0])

    def _answer(self, peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError):
            peer.settimeout(20)
            self.requests.append(_whole_request(peer))
            first = self.later is None or len(self.requests) == 1
            peer.sendall(self.reply if first else self.later or b"")
            while self.hold and peer.recv(4096):
                pass
            self.hung_up.set()

    def close(self) -> None:
        """Wake and join the thread first: a number that close() frees may be another's at once."""
        self._closing = True
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(30)
        self._listener.close()


def _whole_request(peer: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += peer.recv(65_536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        ),
        0,
    )
    while len(body) < length:
        body += peer.recv(65_536)
    return head + b"\r\n\r\n" + body


def http(body: bytes, status: str = "200 OK", kind: str = "application/json") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def sse(*events: str, end: bool = True) -> bytes:
    """A chunked event stream; without ``end`` the body never finishes."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    head += b"Transfer-Encoding: chunked\r\n\r\n"
    for event in events:
        data = f"data: {event}\n\n".encode()
        head += f"{len(data):x}\r\n".encode() + data + b"\r\n"
    return head + (b"0\r\n\r\n" if end else b"")
