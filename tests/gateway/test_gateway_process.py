"""The gateway as the process that it is: its imports, its memory, its start and end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from gateway_running import CONFIG
from local_ai_suite.gateway.keys import KeyFile

if TYPE_CHECKING:
    from scripted_engine import Engine

BOUND = 60.0
HEAVY = ("litellm", "httpx", "pydantic", "fastapi", "starlette", "openai", "rich", "psutil")
MOST_MIB = 50


@contextmanager
def process(tmp_path: Path, **environ: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A gateway with a project of its own, and its address once it answers."""
    target = tmp_path / "services" / "api-gateway" / CONFIG.name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(CONFIG.read_bytes())
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    env = {
        **{key: value for key, value in os.environ.items() if not key.startswith("LAIS_")},
        "LAIS_PROJECT": str(tmp_path),
        "API_GATEWAY_PORT": str(port),
        "INFERENCE_API_BASE": "http://127.0.0.1:9/v1",
        **environ,
    }
    command = [sys.executable, "-m", "local_ai_suite.gateway.server"]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE) as running:
        try:
            yield running, f"http://127.0.0.1:{port}"
        finally:
            running.kill()


def wait_until_ready(url: str) -> None:
    end = time.monotonic() + BOUND
    while True:
        try:
            if httpx.get(f"{url}/health/readiness").status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < end, "the gateway did not become ready"
        time.sleep(0.02)


def test_importing_the_gateway_imports_nothing_heavy() -> None:
    program = "import local_ai_suite.gateway.server, sys; print(*sys.modules)"
    listed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=BOUND
    ).stdout.split()
    assert [name for name in HEAVY if name in listed] == []


def test_it_starts_small_answers_on_both_loopbacks_and_ends_on_sigterm(tmp_path: Path) -> None:
    with process(tmp_path) as (running, url):
        wait_until_ready(url)
        assert httpx.get(url.replace("127.0.0.1", "localhost") + "/v1/models").status_code == 200
        memory = psutil.Process(running.pid).memory_full_info().uss
        assert memory < MOST_MIB * 1024 * 1024
        running.send_signal(signal.SIGTERM)
        assert running.wait(BOUND) == 0


def test_a_request_is_logged_without_its_prompt_its_query_or_its_key(tmp_path: Path) -> None:
    with process(tmp_path, LITELLM_MASTER_KEY="sk-0123456789abcdef-secret") as (running, url):
        wait_until_ready(url)
        httpx.post(
            f"{url}/v1/chat/completions?secret=1",
            json={"model": "local-chat", "messages": [{"role": "user", "content": "secret"}]},
            headers={"authorization": "Bearer sk-0123456789abcdef-secret"},
        )
        running.send_signal(signal.SIGTERM)
        assert running.stderr is not None
        said = running.stderr.read().decode()
        assert '"path":"/v1/chat/completions","status":503' in said
        assert '"key":"master"' in said
        assert "secret" not in said


def test_a_thread_goes_on_after_a_restart_in_any_worker_until_the_setting_ends_it(
    tmp_path: Path, real_engine: Engine
) -> None:
    ask = {"model": "local-chat", "input": "hi"}
    engine = {"INFERENCE_API_BASE": f"{real_engine.url}/v1"}
    with process(tmp_path, **engine) as (running, url):
        wait_until_ready(url)
        first = httpx.post(f"{url}/v1/responses", json=ask, timeout=BOUND).json()
        assert first["store"] is True
        running.send_signal(signal.SIGTERM)
        assert running.wait(BOUND) == 0
    more = {**ask, "previous_response_id": first["id"]}
    with process(tmp_path, **engine, GATEWAY_WORKERS="2") as (running, url):
        wait_until_ready(url)
        for _ in range(4):  # each on a connection of its own
            answer = httpx.post(f"{url}/v1/responses", json=more, timeout=BOUND)
            assert answer.status_code == 200, answer.text
            more["previous_response_id"] = answer.json()["id"]
        running.send_signal(signal.SIGTERM)
        assert running.wait(BOUND) == 0
    with process(tmp_path, **engine, STORE_RESPONSES="off") as (_, url):
        wait_until_ready(url)
        assert httpx.get(f"{url}/v1/responses/{first['id']}").status_code == 404
        assert httpx.post(f"{url}/v1/responses", json=more).status_code == 400


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"API_GATEWAY_PORT": "none"}, "API_GATEWAY_PORT"),
        ({"BIND_ADDRESS": "0.0.0.0"}, "REQUIRE_KEY"),
        ({"LISTEN_ADDRESS": "203.0.113.7"}, "203.0.113.7"),
    ],
)
def test_a_wrong_setting_ends_it_with_one_clear_error(
    tmp_path: Path, environ: dict[str, str], said: str
) -> None:
    with process(tmp_path, **environ) as (running, _):
        assert running.wait(BOUND) not in (0, 1)
        assert running.stderr is not None
        text = running.stderr.read().decode()
        assert said in text
        assert "Traceback" not in text


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with process(tmp_path, API_GATEWAY_PORT=port) as (running, _):
            assert running.wait(BOUND) == 6
            assert running.stderr is not None
            assert f"Port {port}" in running.stderr.read().decode()


def test_more_workers_answer_too_one_that_dies_is_replaced_and_none_is_left(
    tmp_path: Path,
) -> None:
    def workers(pid: int) -> list[psutil.Process]:
        return [
            child
            for child in psutil.Process(pid).children()
            if child.status() != psutil.STATUS_ZOMBIE
        ]

    def until(condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + BOUND
        while not condition():
            assert time.monotonic() < end, f"waited in vain: {what}"
            time.sleep(0.05)

    def listening(child: psutil.Process) -> bool:
        return any(found.status == psutil.CONN_LISTEN for found in child.net_connections())

    with process(tmp_path, GATEWAY_WORKERS="2") as (running, url):
        wait_until_ready(url)
        until(lambda: len(workers(running.pid)) == 1, "the second process")
        (first,) = workers(running.pid)
        first.kill()
        until(lambda: any(w.pid != first.pid for w in workers(running.pid)), "its successor")
        (second,) = (w for w in workers(running.pid) if w.pid != first.pid)
        until(lambda: listening(second), "its socket")
        # With the first process stopped, only the worker can answer.
        running.send_signal(signal.SIGSTOP)
        try:
            assert any(answers(url) for _ in range(20))
        finally:
            running.send_signal(signal.SIGCONT)
        running.send_signal(signal.SIGTERM)
        assert running.wait(BOUND) == 0
        assert not second.is_running()


def test_workers_share_what_a_key_may_send(tmp_path: Path) -> None:
    secret = KeyFile(tmp_path / "state" / "keys" / "keys.json").create("a", requests_per_minute=1)
    environ = {"GATEWAY_WORKERS": "2", "REQUIRE_KEY": "true", "LAIS_STATE": str(tmp_path / "state")}
    with process(tmp_path, LITELLM_MASTER_KEY="sk-0123456789abcdef", **environ) as (running, url):
        wait_until_ready(url)
        end = time.monotonic() + BOUND
        while not (children := psutil.Process(running.pid).children()):
            assert time.monotonic() < end, "the second process never came"
            time.sleep(0.05)
        headers = {"authorization": f"Bearer {secret}"}
        assert httpx.get(f"{url}/v1/nothing", headers=headers).status_code == 404
        # Whichever answered: now each of them refuses.
        for stopped in (psutil.Process(running.pid), children[0]):
            stopped.suspend()
            try:
                found = (status(f"{url}/v1/nothing", headers) for _ in range(20))
                assert next((code for code in found if code is not None), None) == 429
            finally:
                stopped.resume()
        running.send_signal(signal.SIGTERM)
        assert running.wait(BOUND) == 0


def status(url: str, headers: dict[str, str]) -> int | None:
    """The answer's status; ``None`` when the kernel gave the request to a stopped process."""
    try:
        return httpx.get(url, headers=headers, timeout=0.5).status_code
    except httpx.TransportError:
        return None


def answers(url: str) -> bool:
    """Whether one request is answered within a second: the kernel may give it to either."""
    try:
        return httpx.get(f"{url}/health/liveliness", timeout=1).status_code == 200
    except httpx.TransportError:
        return False
