"""A hub on a local port, and a content network on another, with faults to switch on.

Speaks what the real hub speaks: the file list, ``HEAD`` and ``GET`` on ``/resolve/`` with
``X-Linked-Size``, ``X-Linked-Etag`` and a redirect to another origin, ranges, error codes.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from local_ai_suite.demo.gguf_writer import U32, Tensor, TensorType, gguf_bytes


def model_bytes(size: int = 600_000, **metadata: object) -> bytes:
    """A GGUF of about ``size`` bytes whose content depends on its metadata."""
    count = size // 4
    seed = repr(sorted(metadata.items())).encode()
    data = (hashlib.sha256(seed).digest() * (count // 8 + 1))[: count * 4]
    return gguf_bytes(
        {"general.architecture": "llama", "general.name": "Test", **metadata},
        [Tensor("token_embd.weight", (count,), TensorType.F32, data)],
    )


def shard_bytes(number: int, count: int) -> bytes:
    data = bytes([number]) * 4000
    first = {"general.architecture": "llama"} if number == 1 else {}
    return gguf_bytes(
        {
            **first,
            "split.no": U32(number - 1),
            "split.count": U32(count),
            "split.tensors.count": U32(count),
        },
        [Tensor(f"blk.{number}.weight", (1000,), TensorType.F32, data)],
    )


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves in the middle is what many tests are about: no traceback."""


@dataclass
class Seen:
    site: str
    method: str
    path: str
    headers: dict[str, str]


@dataclass
class FakeHub:
    """Faults are used up in order by the requests for a file's bytes (``GET`` on the network)."""

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    faults: list[object] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    hub_status: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)
    announce_hash: dict[str, str] = field(default_factory=dict)
    redirect_to: str | None = None  # instead of the content network
    without_listing: bool = False
    endpoint: str = ""
    network: str = ""

    def add(self, repo: str, path: str, body: bytes) -> None:
        self.files.setdefault(repo, {})[path] = body

    def byte_requests(self) -> list[Seen]:
        return [one for one in self.seen if one.site == "network"]

    def sha(self, path: str, body: bytes) -> str:
        return self.announce_hash.get(path) or hashlib.sha256(body).hexdigest()

    @contextmanager
    def running(self) -> Iterator[FakeHub]:
        servers = [_Server(("127.0.0.1", 0), _handler(self, site)) for site in ("hub", "network")]
        threads = [
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
            for server in servers
        ]
        self.endpoint, self.network = (f"http://127.0.0.1:{s.server_port}" for s in servers)
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            for server, thread in zip(servers, threads, strict=True):
                server.shutdown()
                server.server_close()
                thread.join(timeout=5)


# Faults


@dataclass(frozen=True)
class Cut:
    """The connection breaks off after so many bytes."""

    after: int


@dataclass(frozen=True)
class Status:
    code: int
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Damaged:
    """All bytes come, one of them is another."""


@dataclass(frozen=True)
class NoRanges:
    """The whole file with 200, whatever was asked for."""

    cut_after: int | None = None


@dataclass(frozen=True)
class WrongRange:
    """206, and the bytes begin somewhere else."""


@dataclass(frozen=True)
class TooMuch:
    """More bytes than announced, in chunks."""


@dataclass(frozen=True)
class Trickle:
    """A byte now and then, until the client leaves."""

    every: float = 0.01


@dataclass(frozen=True)
class Page:
    """A login page of a network in place of the file."""


class Good:
    """No fault."""


def _handler(hub: FakeHub, site: str) -> type[BaseHTTPRequestHandler]:  # noqa: C901
    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            path = unquote(urlsplit(self.path).path)
            headers = {key.lower(): value for key, value in self.headers.items()}
            hub.seen.append(Seen(site, self.command, path, headers))
            try:
                if site == "network":
                    self.bytes_of(path.removeprefix("/blob/"))
                elif path.startswith("/api/models/"):
                    self.listing(path)
                else:
                    self.resolve(path)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def send(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def refuse(self, key: str) -> bool:
            if key not in hub.hub_status:
                return False
            status, headers = hub.hub_status[key]
            self.send(status, b"no", **headers)
            return True

        def listing(self, path: str) -> None:
            if self.refuse("listing"):
                return
            match = re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/(.+)", path)
            if hub.without_listing or not match:
                self.send(404)
                return
            if match[1] not in hub.files:
                self.send(401, X_Error_Code="RepoNotFound")
                return
            items = [
                {
                    "type": "file", "path": name, "size": len(body), "oid": "0" * 40,
                    **({"lfs": {"oid": hub.sha(name, body), "size": len(body), "pointerSize": 1}}
                       if name.endswith(".gguf") else {}),
                }
                for name, body in hub.files[match[1]].items()
            ]  # fmt: skip
            half = len(items) // 2
            if "cursor" in self.path:
                self.send(200, json.dumps(items[half:]).encode())
            else:  # two pages, as for a large repository
                link = f'<{hub.endpoint}{self.path}&cursor=2>; rel="next"'
                self.send(200, json.dumps(items[:half]).encode(), Link=link)

        def resolve(self, path: str) -> None:
            if self.refuse("resolve"):
                return
            match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
            body = hub.files.get(match[1], {}).get(match[3]) if match else None
            if match is None or body is None:
                self.send(404, X_Error_Code="EntryNotFound")
                return
            target = hub.redirect_to or f"{hub.network}/blob/{match[1]}/{match[3]}?signature=secret"
            self.send(
                302,
                Location=target,
                X_Linked_Size=str(len(body)),
                X_Linked_Etag=f'"{hub.sha(match[3], body)}"',
                ETag='"the-network-has-its-own"',
            )

        def bytes_of(self, path: str) -> None:  # noqa: C901 (one branch per fault)
            repo, name = "/".join(path.split("/")[:2]), "/".join(path.split("/")[2:])
            body = hub.files[repo][name]
            fault = hub.faults.pop(0) if hub.faults else Good()
            begin = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(begin[1]) if begin else 0
            if isinstance(fault, Status):
                self.send(fault.code, b"", **{k.replace("-", "_"): v for k, v in fault.headers})
            elif isinstance(fault, Page):
                self.send(200, b"<html>Log in to the network" + bytes(len(body)))
            elif isinstance(fault, Damaged):
                self.part(body[:-1] + bytes([body[-1] ^ 1]), start)
            elif isinstance(fault, NoRanges):
                self.part(body, 0, cut=fault.cut_after)
            elif isinstance(fault, WrongRange):
                self.part(body, max(0, start - 10) if start else 0)
            elif isinstance(fault, TooMuch):
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for piece in (body, b"and more"):
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.write(b"0\r\n\r\n")
            elif isinstance(fault, Trickle):
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(body) - start))
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
                self.end_headers()
                for at in range(start, len(body)):
                    self.wfile.write(body[at : at + 1])
                    self.wfile.flush()
                    time.sleep(fault.every)
            else:
                self.part(body, start, cut=fault.after if isinstance(fault, Cut) else None)

        def part(self, body: bytes, start: int, cut: int | None = None) -> None:
            if start >= len(body):
                self.send(416, Content_Range=f"bytes */{len(body)}")
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            rest = body[start:]
            self.wfile.write(rest if cut is None else rest[:cut])
            if cut is not None:
                self.close_connection = True
                self.wfile.flush()

    return Answer
