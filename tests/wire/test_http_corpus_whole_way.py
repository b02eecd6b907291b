"""The corpus along the whole way: a client, the gateway on 8000, the engine service on 8001.

Between the two a tap keeps what the gateway sent. h11 reads it: each of the engine service's
requests must be one that a client made, with the words that it was made with.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from http_corpus import CORPUS, PATH, SECOND, WHOLE, Case, answers, chunked, h11_reads

from engine_service import Service, end_service, start_service
from gateway_running import Running, running
from local_ai_suite.demo import write_scripted_gguf


class Tap:
    """Passes connections on to ``port``, and keeps what the connecting side said on each."""

    def __init__(self, port: int) -> None:
        self.heard: list[bytearray] = []
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._to))
            heard = bytearray()
            self.heard.append(heard)
            for source, target, kept in ((near, far, heard), (far, near, bytearray())):
                threading.Thread(target=_pass, args=(source, target, kept), daemon=True).start()


def _pass(source: socket.socket, target: socket.socket, kept: bytearray) -> None:
    try:
        while data := source.recv(65536):
            kept += data
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        target.close()


@dataclass(frozen=True)
class Stack:
    engine: Service
    gateway: Running
    tap: Tap


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    project: Path = tmp_path_factory.mktemp("corpus")
    (project / "models").mkdir()
    write_scripted_gguf(project / "models" / "scripted.gguf")
    engine = start_service(project)
    try:
        assert engine.chat(max_tokens=1).status_code == 200
        tap = Tap(engine.port)
        with running(f"http://127.0.0.1:{tap.port}") as gateway:
            yield Stack(engine, gateway, tap)
        tap.close()
    finally:
        end_service(engine)


def talk(port: int, sent: bytes) -> bytes:
    """Send ``sent``, end our side, read to the end."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        try:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            while piece := client.recv(65536):
                got += piece
        except ConnectionError:
            pass  # refused in the middle of what we send
    return got


def chats(read: list[bytes]) -> list[object]:
    """The messages of each chat among ``read`` bodies."""
    return [json.loads(body)["messages"] for body in read]


def asked_of_engine(tap: Tap) -> list[bytes]:
    """The bodies of what was posted to the engine service, as h11 reads the tap."""
    found = []
    for heard in tap.heard:
        sent = bytes(heard)
        read = h11_reads(sent)
        for request in read:
            assert request.target in {PATH, b"/v1/models", b"/running"}, sent
            if request.target == PATH:
                found.append(request.body)
    return found


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name[:60])
def test_the_engine_gets_what_the_client_asked_for_and_nothing_else(
    stack: Stack, case: Case
) -> None:
    before = len(asked_of_engine(stack.tap))
    found = answers(talk(stack.gateway.port, case.sent), case.sent)
    statuses = [status for status, _ in found]
    passed = asked_of_engine(stack.tap)[before:]
    if case.answers[0] >= 400:
        assert len(statuses) == 1
        assert statuses[0] in case.answers
        assert not passed
    else:
        assert len(statuses) == len(case.answers)
        assert all(status < 500 for status in statuses)
        meant = [request.body for request in h11_reads(case.sent)[: len(statuses)]]
        meant = [body for body in meant if body.startswith(b"{")]
        assert chats(passed) == chats(meant)
    for heard in stack.tap.heard:
        assert b"smuggled" not in heard
        assert b"evil" not in heard


@pytest.mark.parametrize(
    "case",
    [case for case in CORPUS if case.answers[0] >= 400],
    ids=lambda case: case.name[:60],
)
def test_the_engine_service_refuses_by_itself_what_the_gateway_refuses(
    stack: Stack, case: Case
) -> None:
    found = answers(talk(stack.engine.port, case.sent), case.sent)
    assert [status for status, _ in found] in [[status] for status in case.answers]


@pytest.mark.parametrize("port", ["gateway", "engine"])
def test_a_trailer_without_an_end_is_refused_on_both_ports_and_takes_no_memory(
    stack: Stack, port: str
) -> None:
    before = psutil.Process(stack.engine.process.pid).memory_info().rss
    heard = sum(map(len, stack.tap.heard))
    with socket.create_connection(("127.0.0.1", getattr(stack, port).port), timeout=30) as client:
        client.sendall(chunked(WHOLE[:-2]))
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                client.sendall(b"x-endless: trailer\r\n" * 500)
        got = b""
        with contextlib.suppress(ConnectionError):
            got = client.recv(1000)
    assert got == b"" or got.startswith(b"HTTP/1.1 431 ")
    assert sum(map(len, stack.tap.heard)) == heard, "it was passed on"
    grown = psutil.Process(stack.engine.process.pid).memory_info().rss - before
    assert grown < 16 * 2**20


def test_random_cuts_of_two_requests_never_make_a_third(stack: Stack) -> None:
    """A gateway's reused connection: what one client leaves unfinished is no other's beginning."""
    whole = next(case.sent for case in CORPUS if case.name == "a body in one chunk")
    before = len(asked_of_engine(stack.tap))
    for cut in range(0, len(whole) - 1, 7):
        found = answers(talk(stack.gateway.port, whole[:cut]), whole)
        assert [status for status, _ in found] == ([400] if cut else [])
    assert len(asked_of_engine(stack.tap)) == before
    found = answers(talk(stack.gateway.port, whole + SECOND), whole)
    assert [status for status, _ in found] == [200, 404]
    assert len(asked_of_engine(stack.tap)) == before + 1
