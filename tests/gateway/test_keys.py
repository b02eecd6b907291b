"""Named keys: their file, the guard that asks for them, their limits, the command."""

from __future__ import annotations

import errno
import hmac
import os
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import orjson
import pytest
from click.testing import CliRunner

from gateway_running import running
from local_ai_suite.cli.main import lais
from local_ai_suite.errors import GatewayError, UsageError
from local_ai_suite.gateway.keys import KeyFile, Keyring, NamedKey
from local_ai_suite.gateway.limits import Limits, RateLimited, SharedCounts
from local_ai_suite.wire.guard import Guard
from scripted_engine import Engine

CHAT = {"model": "local-chat", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_key_is_kept_as_a_hash_in_a_private_file(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "state" / "keys.json")
    secret = file.create("laptop", requests_per_minute=5, parallel=2)
    assert secret.encode() not in file.path.read_bytes()
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    (key,) = file.read()
    assert (key.name, key.requests_per_minute, key.parallel) == ("laptop", 5, 2)


@pytest.mark.parametrize("name", ["", "master", "a b", "../x", "x" * 65, "-x", "ключ"])
def test_a_name_that_cannot_be_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        KeyFile(tmp_path / "keys.json").create(name)


def test_a_name_is_given_once_and_only_a_known_one_revoked(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    file.create("a")
    with pytest.raises(UsageError, match="already"):
        file.create("a")
    with pytest.raises(UsageError, match="no key"):
        file.revoke("b")
    file.revoke("a")
    assert file.read() == ()


def test_a_running_gateway_sees_a_new_and_a_revoked_key_within_a_second(tmp_path: Path) -> None:
    clock = Clock()
    file = KeyFile(tmp_path / "keys.json")
    ring = Keyring("the master", file, clock=clock)
    assert ring.check(b"the master") == "master"
    secret = file.create("a").encode()
    assert ring.check(secret) is None
    clock.now += 1
    assert ring.check(secret) == "a"
    file.revoke("a")
    clock.now += 1
    assert ring.check(secret) is None
    assert ring.check(b"") is None


@pytest.mark.parametrize(
    "text", ["", "[]", '{"version": 2, "keys": []}', '{"version": 1, "keys": [{"name": 1}]}']
)
def test_a_broken_file_is_named_and_admits_nobody_but_the_master(tmp_path: Path, text: str) -> None:
    file = KeyFile(tmp_path / "keys.json")
    file.path.write_text(text)
    with pytest.raises(GatewayError, match=r"keys\.json"):
        file.read()
    ring = Keyring("m", file)
    assert ring.check(b"x") is None
    assert ring.check(b"m") == "master"
    assert "keys.json" in ring.problem


def test_trouble_that_passes_locks_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    file = KeyFile(tmp_path / "keys.json")
    secret = file.create("a").encode()
    ring = Keyring("m", file, clock=clock)
    assert ring.check(secret) == "a"
    second = file.create("b").encode()

    def no_descriptor(path: Path) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files")

    clock.now += 1
    with monkeypatch.context() as trouble:
        trouble.setattr(Path, "read_bytes", no_descriptor)
        assert ring.check(secret) == "a"
        assert "Too many open files" in ring.problem
    clock.now += 1
    assert ring.check(second) == "b"
    assert ring.problem == ""


def test_every_key_is_compared_in_constant_time_whichever_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = KeyFile(tmp_path / "keys.json")
    secrets = [file.create(name) for name in ("a", "b", "c")]
    ring = Keyring("m", file)
    compared = 0

    def counted(one: bytes, other: bytes) -> bool:
        nonlocal compared
        compared += 1
        return compare(one, other)

    compare = hmac.compare_digest
    ring.check(b"x")
    monkeypatch.setattr(hmac, "compare_digest", counted)
    for shown in (*secrets, "m", "wrong", ""):
        compared = 0
        ring.check(shown.encode())
        assert compared == 4


def test_requests_per_minute_fill_up_evenly() -> None:
    clock = Clock()
    limits = Limits(clock)
    key = NamedKey("a", "", 0, requests_per_minute=6)
    for _ in range(6):
        limits.enter(key)
        limits.leave(key)
    with pytest.raises(RateLimited) as raised:
        limits.enter(key)
    assert raised.value.details["retry_after"] == 10
    clock.now += 10
    limits.enter(key)
    with pytest.raises(RateLimited):
        limits.enter(key)


def test_requests_at_once_are_counted_until_they_end() -> None:
    limits = Limits()
    key = NamedKey("a", "", 0, parallel=2)
    limits.enter(key)
    limits.enter(key)
    with pytest.raises(RateLimited):
        limits.enter(key)
    limits.leave(key)
    limits.enter(key)


ANOTHER_WORKER = """
import sys
from local_ai_suite.gateway.keys import NamedKey
from local_ai_suite.gateway.limits import Limits, SharedCounts
limits = Limits(shared=SharedCounts(int(sys.argv[1])))
limits.enter(NamedKey("a", "", 0, parallel=2, requests_per_minute=4))
print("entered", flush=True)
sys.stdin.read()
"""


def test_workers_share_what_a_key_has_used_up_and_a_dead_ones_requests_are_over() -> None:
    counts = SharedCounts()
    limits = Limits(shared=counts)
    key = NamedKey("a", "", 0, parallel=2, requests_per_minute=4)
    argv = [sys.executable, "-c", ANOTHER_WORKER, str(counts.descriptor)]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[counts.descriptor]
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"entered\n"
        limits.enter(key)
        with pytest.raises(RateLimited, match="2 requests at once"):
            limits.enter(key)
        worker.kill()
        worker.wait(10)
        limits.enter(key)
    limits.leave(key)
    limits.enter(key)
    limits.leave(key)
    with pytest.raises(RateLimited, match="4 requests a minute"):
        limits.enter(key)
    os.close(counts.descriptor)


def test_a_gateway_that_asks_for_keys(real_engine: Engine, tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    secret = file.create("phone", requests_per_minute=2)
    ring = Keyring("the master", file)
    guard = Guard(require_key=True, key_check=ring.check)
    with (
        running(real_engine.url, guard=guard, keyring=ring) as served,
        httpx.Client(base_url=served.url) as client,
    ):
        for path, where in (("/v1/chat/completions", "code"), ("/v1/messages", "type")):
            answer = client.post(path, json=CHAT)
            assert answer.status_code == 401
            assert answer.json()["error"][where] in {"invalid_api_key", "authentication_error"}
        assert "error" in client.post("/api/chat", json=CHAT).json()
        assert client.get("/metrics").status_code == 401
        for name, value in (
            ("authorization", "Bearer the master"),
            ("x-api-key", "the master"),
            ("x-litellm-api-key", "Bearer the master"),
            ("api-key", "the master"),
        ):
            answer = client.post("/v1/chat/completions", json=CHAT, headers={name: value})
            assert answer.status_code == 200, name
        phone = {"authorization": f"Bearer {secret}"}
        codes = [client.get("/v1/models", headers=phone).status_code for _ in range(3)]
        assert codes == [200, 200, 429]
        answer = client.post("/v1/chat/completions", json=CHAT, headers=phone)
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) > 0
        assert answer.json()["error"]["code"] == "rate_limit_exceeded"
        master = {"x-api-key": "the master"}
        assert 'code="rate_limit_exceeded"' in client.get("/metrics", headers=master).text


def test_a_page_of_an_admitted_origin_gets_its_preflight_and_may_read_a_401(
    real_engine: Engine,
) -> None:
    ring = Keyring("the master")
    guard = Guard(require_key=True, key_check=ring.check)
    page = {"origin": "http://localhost:3000"}
    asks = {**page, "access-control-request-headers": "authorization"}
    with (
        running(real_engine.url, guard=guard, keyring=ring) as served,
        httpx.Client(base_url=served.url) as client,
    ):
        for path in ("/v1/chat/completions", "/v1/models", "/nothing"):
            answer = client.options(path, headers=asks)
            assert answer.status_code == 204
            assert answer.headers["access-control-allow-origin"] == page["origin"]
            assert answer.headers["access-control-allow-headers"] == "authorization"
            assert "POST" in answer.headers["access-control-allow-methods"]
        answer = client.post("/v1/chat/completions", json=CHAT, headers=page)
        assert answer.status_code == 401
        assert answer.headers.get_list("access-control-allow-origin") == [page["origin"]]
        evil = client.options("/v1/models", headers={**asks, "origin": "https://evil.example"})
        assert evil.status_code == 403
        assert "access-control-allow-origin" not in evil.headers


def test_the_command_creates_lists_and_revokes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAIS_PROJECT", str(tmp_path))
    monkeypatch.delenv("LAIS_STATE", raising=False)

    def run(*words: str) -> dict[str, object]:
        outcome = CliRunner(env=dict(os.environ)).invoke(lais, ["keys", *words, "--json"])
        return dict(orjson.loads(outcome.stdout)["data"])

    made = run("create", "desk", "--rpm", "30")
    assert str(made["key"]).startswith("sk-lais-")
    assert run("list") == {
        "keys": [
            {
                "name": "desk",
                "created": KeyFile(tmp_path / ".state" / "keys" / "keys.json").read()[0].created,
                "requests_per_minute": 30,
                "parallel": None,
            }
        ]
    }
    run("revoke", "desk")
    assert run("list") == {"keys": []}
