"""What a request's head must be before an application sees it (RFC 9110 and 9112).

httptools (llhttp) has parsed it and has judged its characters, line ends and Content-Length. Here
stands what llhttp leaves to the server: the version, Host, the form of the target, transfer
codings and expectations. Whatever two parsers could read in two ways is refused, never repaired:
a request that means one thing to a proxy and another to us is how requests are smuggled.
"""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass

import httptools

MAX_HEAD_BYTES = 64 * 1024
# Longer than any path and query that is served here; httptools reads 64 KiB at most.
MAX_TARGET_BYTES = 32 * 1024
# Clients send a dozen, proxies another dozen; each one costs far more memory than its bytes.
MAX_HEADERS = 256

FRAMING = frozenset({b"content-length", b"transfer-encoding"})

_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})
# RFC 9110, 7.2: uri-host [ ":" port ]; whose it is, the guard says.
_HOST_FORM = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
_FORWARDED_SCHEMES = frozenset({b"http", b"https"})


class HeadRefused(Exception):
    """A request that is turned away by its head: the ``status``, ``code``, ``message`` to say."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes: ``path`` is decoded, ``raw_path`` and ``query`` are as they came.

    ``host`` is what counts as the Host header when the target named one itself, else ``None``.
    """

    path: str
    raw_path: bytes
    query: bytes
    host: bytes | None = None


def check_method(method: bytes) -> None:
    """Only HTTP's own methods that an API uses; llhttp also knows RTSP's. Raises HeadRefused."""
    if method == b"CONNECT":
        raise HeadRefused(405, "method_not_allowed", "This is not a proxy.")
    if method not in _METHODS:
        raise HeadRefused(501, "method_not_implemented", "This server does not know the method.")


def check_head(version: str, headers: list[tuple[bytes, bytes]]) -> None:
    """Refuse what must be refused; ``headers`` have lower-case names. Raises HeadRefused."""
    _check_version(version)
    if len(headers) > MAX_HEADERS:
        raise HeadRefused(
            431, "headers_too_large", f"The request has more than {MAX_HEADERS} headers."
        )
    size = hosts = 0
    for name, value in headers:
        size += len(name) + len(value)
        if name == b"host":
            hosts += 1
            _check_host(value)
        elif name == b"transfer-encoding":
            _check_coding(version, value)
        elif name == b"expect" and version == "1.1" and value.strip().lower() != b"100-continue":
            raise HeadRefused(417, "expectation_failed", "The only Expect is 100-continue.")
    if size > MAX_HEAD_BYTES:
        raise HeadRefused(431, "headers_too_large", "The request's headers are too large.")
    # RFC 9112, 3.2: a 1.1 request without Host, and any with two, is a 400.
    if hosts > 1:
        raise HeadRefused(400, "bad_host", "The request has two Host headers.")
    if hosts == 0 and version == "1.1":
        raise HeadRefused(400, "missing_host", "An HTTP/1.1 request needs a Host header.")


def _check_host(value: bytes) -> None:
    if not _HOST_FORM.fullmatch(value):
        raise HeadRefused(400, "bad_host", "The Host header is no host name.")


def _check_version(version: str) -> None:
    if version == "0.9":
        raise HeadRefused(400, "bad_request", "The request's first line names no HTTP version.")
    if version not in {"1.1", "1.0"}:
        raise HeadRefused(
            505, "http_version_not_supported", "This server speaks HTTP/1.1 and HTTP/1.0."
        )


def _check_coding(version: str, value: bytes) -> None:
    # RFC 9112, 6.1: Transfer-Encoding in a 1.0 request is faulty framing, an unknown coding is a
    # 501. llhttp has seen to it that there is one such header, and no Content-Length beside it.
    if version == "1.0":
        raise HeadRefused(400, "bad_request", "HTTP/1.0 has no Transfer-Encoding.")
    if value.strip(b" \t").lower() != b"chunked":
        raise HeadRefused(
            501, "unsupported_transfer_encoding", "The only Transfer-Encoding here is chunked."
        )


def read_target(method: bytes, target: bytes) -> Target:
    """The request line's target in its three forms (RFC 9112, 3.2). Raises HeadRefused.

    A target with an address of its own beats the Host header, as RFC 9112 (3.2.2) asks: what the
    guard judges is then the name that the client really asked for.
    """
    if len(target) > MAX_TARGET_BYTES:
        raise HeadRefused(414, "uri_too_long", "The request's path and query are too long.")
    if target == b"*" and method == b"OPTIONS":
        return Target("*", b"*", b"")
    try:
        url = httptools.parse_url(target)
    except httptools.HttpParserError as exc:
        raise HeadRefused(400, "bad_target", "The request's target is not a valid one.") from exc
    host = None
    if not target.startswith(b"/"):
        if (url.schema or b"").lower() not in _FORWARDED_SCHEMES or url.userinfo or not url.host:
            raise HeadRefused(400, "bad_target", "The target is no path and no http address.")
        host = b"[%b]" % url.host if b":" in url.host else url.host
        if url.port:
            host += b":%d" % url.port
    raw = url.path or b"/"
    path = raw.decode("ascii")
    if "%" in path:
        path = urllib.parse.unquote(path)
    return Target(path, raw, url.query or b"", host)


def without_upgrade(
    method: bytes, target: bytes, version: str, headers: list[tuple[bytes, bytes]]
) -> bytes:
    """The bytes of the same head without its wish for another protocol."""
    closes = any(
        token.strip().lower() == b"close"
        for name, value in headers
        if name == b"connection"
        for token in value.split(b",")
    )
    lines = [b"%b %b HTTP/%b\r\n" % (method, target, version.encode("ascii"))]
    lines += [
        b"%b: %b\r\n" % (name, value)
        for name, value in headers
        if name not in {b"upgrade", b"connection", b"http2-settings"}
    ]
    if closes:
        lines.append(b"connection: close\r\n")
    return b"".join((*lines, b"\r\n"))
