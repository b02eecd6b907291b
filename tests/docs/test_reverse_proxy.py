"""The reverse proxies of docs/start/team-server.md, started for real in front of the gateway."""

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
    from collections.abc import Callable, Iterator

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


def of_the_page(language: str) -> str:
    """The block between its fences, as a reader copies it."""
    page = (DOCS / "start" / "team-server.md").read_text(encoding="utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(found) == 1
    text = str(found[0])
    assert text.count("127.0.0.1:8000") == 1
    return text


@contextlib.contextmanager
def caddy(folder: Path, gateway_port: int) -> Iterator[httpx.Client]:
    """The page's file with this test's ports, and certificates that are made here."""
    port = free_port()
    site = of_the_page("caddyfile").replace("127.0.0.1:8000", f"127.0.0.1:{gateway_port}")
    assert site.startswith(f"{NAME} {{")
    site = site.replace(NAME, f"https://{NAME}:{port}", 1)
    store = folder / "caddy"
    options = (
        f"{{\n\tadmin off\n\tlocal_certs\n\tskip_install_trust\n"
        f"\tauto_https disable_redirects\n\tstorage file_system {store}\n}}\n"
    )
    file = folder / "Caddyfile"
    file.write_text(options + site, encoding="utf-8")
    root = store / "pki" / "authorities" / "local" / "root.crt"
    words = ["caddy", "run", "--config", str(file), "--adapter", "caddyfile"]
    with started(words, folder, lambda: root.is_file() and speaks_tls(port, root)):
        context = ssl.create_default_context(cafile=str(root))
        with client_at(f"https://127.0.0.1:{port}", verify=context) as client:
            yield client


@contextlib.contextmanager
def nginx(folder: Path, gateway_port: int) -> Iterator[httpx.Client]:
    """The page's block in a server without TLS, whose files all lie in ``folder``."""
    port = free_port()
    block = of_the_page("nginx").replace("127.0.0.1:8000", f"127.0.0.1:{gateway_port}")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    file = folder / "nginx.conf"
    file.write_text(
        f"daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log stderr;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{places}"
        f"server {{\nlisten 127.0.0.1:{port};\nserver_name {NAME};\n{block}\n}}\n}}\n",
        encoding="utf-8",
    )
    words = ["nginx", "-p", str(folder), "-c", str(file), "-e", "stderr"]
    with (
        started(words, folder, lambda: listens(port)),
        client_at(f"http://127.0.0.1:{port}") as client,
    ):
        yield client


PROXIES = {"caddy": caddy, "nginx": nginx}


@contextlib.contextmanager
def started(words: list[str], folder: Path, ready: Callable[[], bool]) -> Iterator[None]:
    """A program until the end of the block, once it is ``ready``."""
    file = folder / f"{words[0]}.log"
    environment = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "PATH": "/usr/bin:/bin"}
    program = shutil.which(words[0])
    assert program is not None
    with (
        file.open("wb") as log,
        subprocess.Popen([program, *words[1:]], stdout=log, stderr=log, env=environment) as process,
    ):
        try:
            deadline = time.monotonic() + READY_S
            while not ready():
                assert time.monotonic() < deadline, file.read_text(encoding="utf-8")
                assert process.poll() is None, file.read_text(encoding="utf-8")
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def client_at(url: str, verify: ssl.SSLContext | bool = True) -> httpx.Client:
    """Comes by the name that people type; TLS asks for that name and checks the certificate."""

    def by_its_name(request: httpx.Request) -> None:
        request.extensions["sni_hostname"] = NAME

    hooks = {"request": [by_its_name]} if url.startswith("https") else {}
    return httpx.Client(
        base_url=url, headers={"Host": NAME}, verify=verify, timeout=30, event_hooks=hooks
    )


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True


def speaks_tls(port: int, root: Path) -> bool:
    context = ssl.create_default_context(cafile=str(root))
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=2) as plain,
            context.wrap_socket(plain, server_hostname=NAME),
        ):
            return True
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@dataclass(frozen=True)
class Proxied:
    """A client that comes from outside, the way in, and the engine behind it all."""

    client: httpx.Client
    proxy: Callable[[Path, int], contextlib.AbstractContextManager[httpx.Client]]
    key: str
    engine: Engine

    def authorized(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def busy_slots(self) -> int:
        slots = httpx.get(f"{self.engine.url}/slots", timeout=10).json()
        return sum(slot["is_processing"] for slot in slots)


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    model = write_scripted_gguf(tmp_path_factory.mktemp("behind") / "scripted.gguf")
    with engine(model, context=16_384, slots=2) as found:
        yield found


@pytest.fixture(scope="module", params=list(PROXIES))
def proxied(
    request: pytest.FixtureRequest, behind: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxied]:
    program = request.param
    if shutil.which(program) is None:
        pytest.skip(f"NOT RUN: {program} is not here (apt-get install {program})")
    folder = tmp_path_factory.mktemp(program)
    keys = KeyFile(folder / "keys.json")
    secret = keys.create("alice")
    guard = Guard(
        allowed_hosts=frozenset({NAME}),
        require_key=True,
        key_check=Keyring("the-master-key", keys).check,
    )
    with (
        running(behind.url, guard=guard) as gateway,
        PROXIES[program](folder, gateway.port) as client,
    ):
        yield Proxied(client, PROXIES[program], secret, behind)


def test_nobody_comes_in_without_a_key_though_the_proxy_is_on_loopback(proxied: Proxied) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        answer = proxied.client.post("/v1/chat/completions", json=SHORT, headers=headers)
        assert answer.status_code == 401, answer.text


def test_a_named_key_gets_an_answer(proxied: Proxied) -> None:
    answer = proxied.client.post("/v1/chat/completions", json=SHORT, headers=proxied.authorized())
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"]


def test_the_name_that_people_type_must_be_allowed(proxied: Proxied, tmp_path: Path) -> None:
    with (
        running(proxied.engine.url, guard=Guard()) as not_told,
        proxied.proxy(tmp_path, not_told.port) as client,
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


def test_a_picture_in_a_request_passes(proxied: Proxied) -> None:
    """Two megabytes: nginx takes one by itself."""
    body = {**SHORT, "messages": [{"role": "user", "content": "hi"}], "user": "x" * 2_000_000}
    answer = proxied.client.post("/v1/chat/completions", json=body, headers=proxied.authorized())
    assert answer.status_code == 200, answer.text[:300]
