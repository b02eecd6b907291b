"""The reverse proxy of docs/start/team-server.md, started for real in front of the gateway."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import ssl
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from doc_pages.table import DOCS
from gateway_running import running
from local_ai_suite.demo import write_scripted_gguf
from local_ai_suite.gateway.keys import KeyFile, Keyring
from local_ai_suite.wire.guard import Guard
from scripted_engine import Engine, engine

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "ai.example.com"
READY_S = 20.0
"""Caddy makes a certificate authority of its own first: about a second on a quiet machine."""
FREE_S = 10.0
ENDLESS = {
    "model": "local-chat",
    "messages": [{"role": "user", "content": "forever"}],
    "max_tokens": 7000,
    "stream": True,
}
SHORT = {"model": "local-chat", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}

CADDY = shutil.which("caddy")
pytestmark = pytest.mark.skipif(
    CADDY is None, reason="NOT RUN: Caddy is not here (apt-get install caddy)"
)


def caddyfile_of_the_page() -> str:
    """The block between its fences, as a reader copies it."""
    page = (DOCS / "start" / "team-server.md").read_text(encoding="utf-8")
    found = re.findall(r"^```caddyfile\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(found) == 1
    return str(found[0])


@dataclass(frozen=True)
class Proxied:
    """A client that comes from outside, by the name that people type; the engine behind it all."""

    client: httpx.Client
    key: str
    engine: Engine

    def authorized(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def busy_slots(self) -> int:
        slots = httpx.get(f"{self.engine.url}/slots", timeout=10).json()
        return sum(slot["is_processing"] for slot in slots)


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    folder = tmp_path_factory.mktemp("proxy")
    keys = KeyFile(folder / "keys.json")
    secret = keys.create("alice")
    guard = Guard(
        allowed_hosts=frozenset({NAME}),
        require_key=True,
        key_check=Keyring("the-master-key", keys).check,
    )
    model = write_scripted_gguf(folder / "scripted.gguf")
    with (
        engine(model, context=16_384, slots=2) as behind,
        running(behind.url, guard=guard) as gateway,
        caddy(folder, gateway.port) as client,
    ):
        yield Proxied(client, secret, behind)


@contextlib.contextmanager
def caddy(folder: Path, gateway_port: int) -> Iterator[httpx.Client]:
    """The page's file with this test's ports, and certificates that are made here."""
    port = free_port()
    site = caddyfile_of_the_page()
    assert site.startswith(f"{NAME} {{")
    assert site.count("127.0.0.1:8000") == 1
    site = site.replace("127.0.0.1:8000", f"127.0.0.1:{gateway_port}")
    site = site.replace(NAME, f"https://{NAME}:{port}", 1)
    store = folder / "caddy"
    options = (
        f"{{\n\tadmin off\n\tlocal_certs\n\tskip_install_trust\n"
        f"\tauto_https disable_redirects\n\tstorage file_system {store}\n}}\n"
    )
    file = folder / "Caddyfile"
    file.write_text(options + site, encoding="utf-8")
    log = (folder / "caddy.log").open("wb")
    words = [str(CADDY), "run", "--config", str(file), "--adapter", "caddyfile"]
    environment = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "PATH": "/usr/bin:/bin"}
    with log, subprocess.Popen(words, stdout=log, stderr=log, env=environment) as process:
        try:
            root = store / "pki" / "authorities" / "local" / "root.crt"
            wait_until(lambda: root.is_file() and answers(port, root), folder / "caddy.log")
            context = ssl.create_default_context(cafile=str(root))
            with httpx.Client(
                base_url=f"https://127.0.0.1:{port}",
                headers={"Host": NAME},
                verify=context,
                timeout=30,
                event_hooks={"request": [by_its_name]},
            ) as client:
                yield client
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def by_its_name(request: httpx.Request) -> None:
    """No name server knows the name: TLS asks for it all the same, and checks the certificate."""
    request.extensions["sni_hostname"] = NAME


def answers(port: int, root: Path) -> bool:
    context = ssl.create_default_context(cafile=str(root))
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=2) as plain,
            context.wrap_socket(plain, server_hostname=NAME),
        ):
            return True
    except OSError:
        return False


def wait_until(done, log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while not done():
        assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_nobody_comes_in_without_a_key_though_the_proxy_is_on_loopback(proxied: Proxied) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        answer = proxied.client.post("/v1/chat/completions", json=SHORT, headers=headers)
        assert answer.status_code == 401, answer.text


def test_a_named_key_gets_an_answer_over_tls(proxied: Proxied) -> None:
    answer = proxied.client.post("/v1/chat/completions", json=SHORT, headers=proxied.authorized())
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"]


def test_the_name_that_people_type_must_be_allowed(proxied: Proxied, tmp_path: Path) -> None:
    with (
        running(proxied.engine.url, guard=Guard()) as not_told,
        caddy(tmp_path, not_told.port) as client,
    ):
        answer = client.get("/v1/models")
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "host_not_allowed"


def test_tokens_come_as_they_are_made_and_a_hang_up_frees_the_slot(proxied: Proxied) -> None:
    with proxied.client.stream(
        "POST", "/v1/chat/completions", json=ENDLESS, headers=proxied.authorized()
    ) as answer:
        assert answer.status_code == 200
        lines = answer.iter_lines()  # held: httpx hangs up where nobody holds it
        while '"content":"' not in next(lines):
            pass
        # The first token is here, and the last one is not made yet.
        assert proxied.busy_slots() == 1
    deadline = time.monotonic() + FREE_S
    while proxied.busy_slots():
        assert time.monotonic() < deadline, "the engine goes on for somebody who has left"
        time.sleep(0.1)
