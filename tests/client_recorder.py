"""Stands between real clients and the gateway, passes everything on and remembers it."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# A client reads 20,000 tokens of its own prompt first, on a busy machine.
_ANSWER_S = 600.0
_PIECE = 65_536
_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "te", "upgrade"}


@dataclass(frozen=True)
class Exchange:
    """One request and its answer, as they were on the wire. Header names are lower-case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int
    content_type: str
    answer: bytes


@dataclass
class Recorder:
    """``port`` is for the clients; ``seen`` are the finished exchanges, oldest first."""

    port: int
    seen: list[Exchange] = field(default_factory=list)

    def take(self) -> list[Exchange]:
        """What was seen since the last time."""
        taken, self.seen = self.seen, []
        return taken


class _Pass(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _pass(self) -> None:
        body = self._body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        upstream = http.client.HTTPConnection(
            "127.0.0.1", self.server.gateway_port, timeout=_ANSWER_S
        )
        with contextlib.closing(upstream):
            upstream.putrequest(self.command, self.path, True, True)
            for name, value in self.headers.items():
                if name.lower() not in _HOP:
                    upstream.putheader(name, value)
            if body or self.command == "POST":
                upstream.putheader("Content-Length", str(len(body)))
            upstream.endheaders(body or None)
            answer = upstream.getresponse()
            whole = self._answer(answer)
        if whole is None:
            return
        kind = answer.headers.get("Content-Type", "")
        self.server.found.seen.append(
            Exchange(self.command, self.path, headers, body, answer.status, kind, whole)
        )

    do_GET = do_POST = do_HEAD = do_DELETE = do_OPTIONS = do_PUT = _pass  # noqa: N815

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, answer: http.client.HTTPResponse) -> bytes | None:
        """Pass it on piece by piece. A client that hung up (``None``) ends the upstream's too."""
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in _HOP:
                self.send_header(name, value)
        length = answer.headers.get("Content-Length")
        bodiless = self.command == "HEAD" or answer.status in {204, 304}
        chunked = length is None and not bodiless
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif length is not None:
            self.send_header("Content-Length", length)
        parts = []
        try:
            self.end_headers()
            while not bodiless and (piece := answer.read1(_PIECE)):
                parts.append(piece)
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            if chunked:
                self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True
            return None
        return b"".join(parts)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    address_family = socket.AF_INET

    def __init__(self, address: tuple[str, int], gateway_port: int, found: Recorder) -> None:
        super().__init__(address, _Pass)
        self.gateway_port, self.found = gateway_port, found

    def handle_error(self, *_: object) -> None:
        """A client that left early is no news."""


class _Server6(_Server):
    address_family = socket.AF_INET6


@contextlib.contextmanager
def recorder(gateway_port: int) -> Iterator[Recorder]:
    """Listen on both loopbacks, on a port the system chooses."""
    found = Recorder(0)

    servers = [_Server(("127.0.0.1", 0), gateway_port, found)]
    found.port = servers[0].server_port
    with contextlib.suppress(OSError):  # a machine without IPv6
        servers.append(_Server6(("::1", found.port), gateway_port, found))
    threads = [threading.Thread(target=server.serve_forever, daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
