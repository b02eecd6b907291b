"""Who may come in."""

from __future__ import annotations

import pytest

from local_ai_suite.wire.guard import (
    Admitted,
    Guard,
    Refusal,
    cors_headers,
    host_set,
    origin_set,
    single_key,
)

OPEN = Guard()
KEYED = Guard(require_key=True, key_check=single_key("secret"))


@pytest.mark.parametrize(
    "host",
    [
        b"localhost",
        b"localhost:8000",
        b"LOCALHOST:8000",
        b"localhost.",
        b"127.0.0.1:8000",
        b"127.1.2.3",
        b"[::1]:8000",
        b"app.localhost:3000",
    ],
)
def test_loopback_hosts_may_come_in(host: bytes) -> None:
    assert isinstance(OPEN.check([(b"host", host)]), Admitted)


@pytest.mark.parametrize(
    "host",
    [
        b"evil.example",
        b"evil.example:8000",
        b"127.0.0.1.evil.example",
        b"localhost.evil.example",
        b"localhost@evil.example",
        b"192.168.0.7:8000",
        b"[::1",
        b"[evil]:80",
        b"\xff\xfe",
        b"",
        b"0.0.0.0",
    ],
)
def test_a_foreign_host_is_refused(host: bytes) -> None:
    verdict = OPEN.check([(b"host", host)])
    assert isinstance(verdict, Refusal)
    assert (verdict.status, verdict.code) == (403, "host_not_allowed")


def test_two_origins_are_refused() -> None:
    origins = [(b"origin", b"http://localhost"), (b"origin", b"https://evil.example")]
    for headers in (origins, origins[::-1], [origins[0], origins[0]]):
        verdict = OPEN.check([(b"host", b"localhost"), *headers])
        assert isinstance(verdict, Refusal)
        assert (verdict.status, verdict.code) == (400, "bad_origin")


def test_two_host_headers_are_refused() -> None:
    verdict = OPEN.check([(b"host", b"localhost"), (b"host", b"evil.example")])
    assert isinstance(verdict, Refusal)
    assert verdict.status == 400


def test_allowed_hosts_are_further_names() -> None:
    guard = Guard(allowed_hosts=host_set(["host.docker.internal", "Box:8000"]))
    for host in (b"host.docker.internal:8000", b"box"):
        assert isinstance(guard.check([(b"host", host)]), Admitted)
    assert isinstance(guard.check([(b"host", b"other")]), Refusal)


def test_a_service_published_beyond_loopback_answers_to_its_addresses_but_not_to_names() -> None:
    guard = Guard(any_address=True)
    assert isinstance(guard.check([(b"host", b"192.168.0.7:8000")]), Admitted)
    assert isinstance(guard.check([(b"host", b"rebound.example:8000")]), Refusal)


@pytest.mark.parametrize(
    "origin",
    [
        b"http://localhost:3000",
        b"http://127.0.0.1",
        b"https://[::1]:8443",
        b"vscode-webview://1abc",
        b"tauri://localhost",
    ],
)
def test_pages_from_this_machine_and_desktop_applications_may_come_in(origin: bytes) -> None:
    verdict = OPEN.check([(b"host", b"localhost"), (b"origin", origin)])
    assert isinstance(verdict, Admitted)
    assert (b"access-control-allow-origin", origin) in cors_headers(verdict.origin)


@pytest.mark.parametrize(
    "origin",
    [b"https://evil.example", b"null", b"http://localhost.evil.example", b"", b"http://"],
)
def test_a_page_from_elsewhere_is_refused_even_with_the_key(origin: bytes) -> None:
    headers = [(b"host", b"localhost"), (b"origin", origin), (b"authorization", b"Bearer secret")]
    verdict = KEYED.check(headers)
    assert isinstance(verdict, Refusal)
    assert (verdict.status, verdict.code) == (403, "origin_not_allowed")


ALLOWED = [
    "https://Chat.example/",
    "http://pc.local:3000",
    "chrome-extension://abcdefgh",
    "moz-extension://*",
    "https://[fd00::1]:8443",
    "https://usual.example:443",
]


@pytest.mark.parametrize(
    ("origin", "admitted"),
    [
        (b"https://chat.example", True),
        (b"https://chat.example:443", True),
        (b"http://chat.example", False),
        (b"https://chat.example:444", False),
        (b"https://chat.example.evil.example", False),
        (b"https://evil.chat.example", False),
        (b"https://chat.example@evil.example", False),
        (b"https://chat.example/evil", False),
        (b"https://chat.example https://evil.example", False),
        (b"http://pc.local:3000", True),
        (b"http://pc.local", False),
        (b"chrome-extension://abcdefgh", True),
        (b"chrome-extension://other", False),
        (b"chrome-extension://*", False),
        (b"moz-extension://1f2e3d4c-0000-4000-8000-123456789abc", True),
        (b"safari-web-extension://1", False),
        (b"vscode-webview://1abc", True),
        (b"https://[fd00::1]:8443", True),
        (b"https://usual.example", True),
        (b"null", False),
        (b"*", False),
        (b"https://*", False),
    ],
)
def test_allowed_origins_are_further_pages_and_extensions_and_no_others(
    origin: bytes, admitted: bool
) -> None:
    guard = Guard(allowed_origins=origin_set(ALLOWED))
    verdict = guard.check([(b"host", b"localhost"), (b"origin", origin)])
    assert isinstance(verdict, Admitted) == admitted


def test_the_refusal_names_the_setting_and_the_origin_to_add() -> None:
    page = [(b"host", b"localhost"), (b"origin", b"chrome-extension://abc")]
    refusal = OPEN.check(page)
    assert isinstance(refusal, Refusal)
    assert "add chrome-extension://abc to ALLOWED_ORIGINS in .env" in refusal.message
    named = refusal.message.partition("add ")[2].partition(" to")[0]
    assert isinstance(Guard(allowed_origins=origin_set([named])).check(page), Admitted)


def test_a_preflight_of_an_admitted_page_is_whole() -> None:
    headers = dict(cors_headers(b"https://chat.example", b"x-stainless-os, authorization"))
    assert headers[b"access-control-allow-origin"] == b"https://chat.example"
    assert headers[b"access-control-allow-headers"] == b"x-stainless-os, authorization"
    assert b"DELETE" in headers[b"access-control-allow-methods"]
    assert headers[b"access-control-allow-private-network"] == b"true"
    assert cors_headers(None, b"x") == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"authorization", b"Bearer secret"),
        (b"authorization", b"bearer  secret"),
        (b"x-api-key", b"secret"),
        (b"x-litellm-api-key", b"Bearer secret"),
        (b"api-key", b"secret"),
    ],
)
def test_the_key_is_found_in_each_header_that_sdks_use(name: bytes, value: bytes) -> None:
    assert KEYED.check([(name, value)]) == Admitted("master", None)


def test_a_placeholder_in_one_header_does_not_hide_the_key_in_another() -> None:
    headers = [(b"authorization", b"Bearer none"), (b"x-litellm-api-key", b"Bearer secret")]
    assert KEYED.check(headers) == Admitted("master", None)
    assert KEYED.check(headers[::-1]) == Admitted("master", None)


@pytest.mark.parametrize(
    "headers",
    [[], [(b"authorization", b"Bearer ")], [(b"x-api-key", b"Secret")], [(b"cookie", b"secret")]],
)
def test_without_the_key_a_keyed_service_refuses(headers: list[tuple[bytes, bytes]]) -> None:
    verdict = KEYED.check(headers)
    assert isinstance(verdict, Refusal)
    assert (verdict.status, verdict.code) == (401, "invalid_api_key")


def test_without_require_key_a_placeholder_is_ignored() -> None:
    assert OPEN.check([(b"authorization", b"Bearer sk-none")]) == Admitted(None, None)


def test_a_service_that_requires_a_key_but_has_none_admits_nobody() -> None:
    guard = Guard(require_key=True, key_check=single_key(None))
    assert isinstance(guard.check([(b"authorization", b"Bearer ")]), Refusal)
    assert isinstance(guard.check([(b"authorization", b"Bearer x")]), Refusal)
