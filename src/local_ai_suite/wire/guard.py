"""Who may come in: the Host and Origin headers, and the key. Pure: headers in, refusal out.

A web page that a person visits can make the browser send requests to 127.0.0.1. Two things tell
it apart: its Origin, and (when it has pointed a name of its own at 127.0.0.1, "DNS rebinding")
its Host. Neither is a secret, so both are checked even where no key is asked for.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local_ai_suite.wire.asgi import Headers

# Schemes of desktop applications: no web page can have such an origin. The list is Ollama's
# (envconfig/config.go, AllowedOrigins). "null" stays out: a sandboxed frame of any page sends it.
APPLICATION_SCHEMES = frozenset({"app", "file", "tauri", "vscode-webview", "vscode-file"})
KEY_HEADERS = frozenset({b"authorization", b"x-api-key", b"x-litellm-api-key", b"api-key"})
_BEARER = b"bearer "

# Token -> the key's name, or None when no key matches.
KeyCheck = Callable[[bytes], str | None]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is turned away; ``status`` 400, 401 or 403."""

    status: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request may come in. ``key`` names the key that it showed, if a valid one."""

    key: str | None
    origin: bytes | None


@dataclass(frozen=True, slots=True)
class Guard:
    """The rule of one service.

    ``allowed_hosts`` are further names (``host.docker.internal``), ``allowed_origins`` further
    pages (of ``origin_set``); ``any_address`` also admits a Host that is an IP address, for a
    service published beyond loopback (rebinding needs a name).
    """

    allowed_hosts: frozenset[str] = frozenset()
    allowed_origins: frozenset[str] = frozenset()
    any_address: bool = False
    require_key: bool = False
    key_check: KeyCheck | None = None

    def check(self, headers: Headers) -> Refusal | Admitted:
        """Judge one request by its headers (lower-case names, as ASGI has them)."""
        host = origin = token = None
        for name, value in headers:
            if name == b"host":
                if host is not None:
                    return Refusal(400, "bad_host", "The request has two Host headers.")
                host = value
            elif name == b"origin":
                if origin is not None:
                    return Refusal(400, "bad_origin", "The request has two Origin headers.")
                origin = value
            elif name in KEY_HEADERS:
                token = self._better(token, bearer(value))
        if host is not None and not self._known_host(host):
            return Refusal(
                403,
                "host_not_allowed",
                f"The Host {_shown(host)} is not this server's. Use localhost or 127.0.0.1, or add "
                "the name to ALLOWED_HOSTS in .env.",
            )
        if origin is not None and not self._known_origin(origin):
            return Refusal(
                403,
                "origin_not_allowed",
                f"Pages from {_shown(origin)} may not use this server. {_cure(origin)}",
            )
        return self._check_key(token, origin)

    def _better(self, token: bytes | None, found: bytes | None) -> bytes | None:
        # An SDK's placeholder in one header must not hide a key in another.
        if token is None or (found and self.key_check and self.key_check(token) is None):
            return found
        return token

    def _check_key(self, token: bytes | None, origin: bytes | None) -> Refusal | Admitted:
        key = self.key_check(token) if token and self.key_check else None
        if key is None and self.require_key:
            shown = "No API key was sent." if token is None else "The API key is not valid."
            return Refusal(
                401,
                "invalid_api_key",
                f"{shown} Send the server's key as Authorization: Bearer KEY.",
            )
        return Admitted(key, origin)

    def _known_host(self, host: bytes) -> bool:
        if host in _USUAL_HOSTS or host.partition(b":")[0] in _USUAL_HOSTS:
            return True
        return self._known_name(host_name(host.decode("latin-1")))

    def _known_origin(self, origin: bytes) -> bool:
        scheme, separator, rest = origin.decode("latin-1").partition("://")
        if not separator:
            return False
        if scheme.lower() in APPLICATION_SCHEMES or self._allows_origin(origin.decode("latin-1")):
            return True
        return scheme.lower() in {"http", "https"} and self._origin_name(host_name(rest))

    def _allows_origin(self, origin: str) -> bool:
        allowed = self.allowed_origins
        if not allowed or (name := _origin(origin)) is None:
            return False
        return name in allowed or f"{name.partition('://')[0]}://*" in allowed

    def _origin_name(self, name: str | None) -> bool:
        return name is not None and (is_loopback(name) or name in self.allowed_hosts)

    def _known_name(self, name: str | None) -> bool:
        if name is None:
            return False
        if is_loopback(name) or name in self.allowed_hosts:
            return True
        return self.any_address and _address(name) is not None


_USUAL_HOSTS = frozenset({b"localhost", b"127.0.0.1"})


def bearer(value: bytes) -> bytes | None:
    """The token in a key header, with or without ``Bearer``; ``None`` when it is empty."""
    value = value.strip()
    if value[: len(_BEARER)].lower() == _BEARER:
        value = value[len(_BEARER) :].strip()
    return value or None


def host_name(authority: str) -> str | None:
    """``Localhost.:8000`` -> ``localhost``, ``[::1]:8000`` -> ``::1``; ``None`` if it is none."""
    authority = authority.strip().lower()
    if authority.startswith("["):
        name, bracket, port = authority[1:].partition("]")
        if not bracket or _address(name) is None or not _is_port(port):
            return None
        return name
    name, colon, port = authority.partition(":")
    if not _is_port(colon + port):
        return None
    name = name.removesuffix(".")
    plain = name and all(char.isalnum() or char in "-._" for char in name) and name.isascii()
    return name if plain else None


def is_loopback(name: str) -> bool:
    """``localhost``, a name under it (RFC 6761), 127.0.0.0/8 or ::1."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name)
    return address is not None and address.is_loopback


def host_set(names: Iterable[str]) -> frozenset[str]:
    """``ALLOWED_HOSTS`` as Guard wants it: lower case, without port or final dot."""
    return frozenset(name for text in names if (name := host_name(text)))


def origin_set(origins: Iterable[str]) -> frozenset[str]:
    """``ALLOWED_ORIGINS`` as Guard wants it: lower case, without a final slash or a usual port.

    ``chrome-extension://*`` admits every extension; http and https have no such form.
    """
    return frozenset(name for text in origins if (name := _origin(text)))


def _origin(text: str) -> str | None:
    """RFC 6454, 6.2: scheme, host and port, as browsers serialise them; ``None`` if it is none."""
    scheme, separator, rest = text.strip().lower().partition("://")
    authority = rest.removesuffix("/")
    if not separator or not _SCHEME_FORM.fullmatch(scheme):
        return None
    if scheme not in _WEB_PORTS:
        plain = authority == "*" or _OPAQUE_FORM.fullmatch(authority)
        return f"{scheme}://{authority}" if plain else None
    if host_name(authority) is None:
        return None
    return f"{scheme}://{authority.removesuffix(_WEB_PORTS[scheme])}"


_SCHEME_FORM = re.compile(r"[a-z][a-z0-9+.-]*")
_OPAQUE_FORM = re.compile(r"[a-z0-9._~{}:-]*")
_WEB_PORTS = {"http": ":80", "https": ":443"}


def _cure(origin: bytes) -> str:
    name = _origin(origin.decode("latin-1"))
    if name is None:  # "null": a file, or a frame without rights, of any page
        return "Open the page from localhost."
    return f"Open the page from localhost, or add {name} to ALLOWED_ORIGINS in .env."


def single_key(secret: str | None, name: str = "master") -> KeyCheck:
    """A check for one key, in constant time: SHA-256 first, so that lengths don't show."""
    if not secret:
        return lambda _token: None
    expected = hashlib.sha256(secret.encode()).digest()

    def check(token: bytes) -> str | None:
        same = hmac.compare_digest(hashlib.sha256(token).digest(), expected)
        return name if same else None

    return check


def cors_headers(origin: bytes | None, requested: bytes | None = None) -> list[tuple[bytes, bytes]]:
    """What a browser needs to let an admitted page read the answer; none without an Origin.

    ``requested`` is a preflight's Access-Control-Request-Headers: what an admitted origin asks for
    it may send (every SDK has headers of its own).
    """
    if origin is None:
        return []
    headers = [
        (b"access-control-allow-origin", origin),
        (b"vary", b"Origin"),
        (b"access-control-expose-headers", b"x-request-id, server-timing, retry-after"),
    ]
    if requested is not None:
        headers += [
            (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
            (b"access-control-allow-headers", requested),
            (b"access-control-max-age", b"600"),
            # Chrome asks before a page from elsewhere may reach an address of this machine.
            (b"access-control-allow-private-network", b"true"),
        ]
    return headers


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _is_port(text: str) -> bool:
    return text == "" or (text.startswith(":") and text[1:].isdigit() and text.isascii())


def _shown(value: bytes) -> str:
    return repr(value[:100].decode("latin-1"))
